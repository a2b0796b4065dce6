package source

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"naru/naru"
)

// TestLinksOut makes each file that Load reads a link to a secret outside the folder, which no error may show either.
func TestLinksOut(t *testing.T) {
	const compose = "services: {web: {image: x, env_file: e.env, extends: {file: base.yaml, service: b}}}"
	const base = "services: {b: {image: x}}"
	for _, linked := range []string{"compose.yaml", "compose.override.yaml", ".env", "e.env", "base.yaml"} {
		outside, dir := t.TempDir(), t.TempDir()
		write(t, filepath.Join(outside, "secret"), "SECRET: hunter2")
		for name, content := range map[string]string{"compose.yaml": compose, "base.yaml": base, "e.env": "A=b"} {
			if name != linked {
				write(t, filepath.Join(dir, name), content)
			}
		}
		if err := os.Symlink(filepath.Join(outside, "secret"), filepath.Join(dir, linked)); err != nil {
			t.Fatal(err)
		}
		spec, err := Load(t.Context(), dir, Options{App: "app"})
		if err == nil || naru.CodeOf(err) != naru.InvalidArgument || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %+v, %v", linked, spec, err)
		}
	}
}

// TestContextLinksOut makes the build context, and then its Dockerfile, a link that leads out.
func TestContextLinksOut(t *testing.T) {
	for _, linked := range []string{"src", "src/Dockerfile"} {
		outside, dir := t.TempDir(), t.TempDir()
		write(t, filepath.Join(outside, "Dockerfile"), "FROM scratch")
		write(t, filepath.Join(dir, "compose.yaml"), "services: {web: {build: src}}")
		target := outside
		if linked != "src" {
			target = filepath.Join(outside, "Dockerfile")
			if err := os.Mkdir(filepath.Join(dir, "src"), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Symlink(target, filepath.Join(dir, linked)); err != nil {
			t.Fatal(err)
		}
		if spec, err := Load(t.Context(), dir, Options{App: "app"}); err == nil {
			t.Errorf("%s: %+v", linked, spec)
		}
	}
}

func write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestLabel(t *testing.T) {
	for folder, want := range map[string]string{
		"guestbook": "guestbook", "My_App": "my-app", "--x--y": "x-y", "나루": "", "a.b": "a-b",
		strings.Repeat("a", 62) + "_b": strings.Repeat("a", 62),
	} {
		if got := label(folder); got != want {
			t.Errorf("label(%q) = %q, want %q", folder, got, want)
		}
	}
}

func TestNoFolder(t *testing.T) {
	if _, err := Load(t.Context(), "/no/such/folder", Options{}); naru.CodeOf(err) != naru.NotFound {
		t.Errorf("got %v", err)
	}
}
