package builder

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"naru/naru"
)

func TestGo(t *testing.T) {
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("needs the go command on the host")
	}
	w := newWorld(t)
	lap := func(what string, t0 time.Time) { t.Logf("%s: %v", what, time.Since(t0)) }
	t0 := time.Now()
	if _, err := w.goBase.get(t.Context(), w.images, newWatch(0, nil)); err != nil {
		t.Fatal(err)
	}
	lap("image of the host's Go", t0)
	list, err := w.images.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s: %d MB", list[0].Names, list[0].Size>>20)

	w.write(t, "go.mod", "module example.org/hello\n\ngo 1.24\n")
	w.write(t, "cmd/hello/main.go", "package main\n\nimport (\"fmt\"; \"time\")\n\nfunc main() {\n\tl, err := time.LoadLocation(\"Asia/Seoul\")\n\tfmt.Println(\"one\", l, err)\n}\n")
	req := request("hello", naru.BuildSpec{Kind: naru.BuildGo, GoPackage: "./cmd/hello", Args: map[string]string{"X": `a"$b`}})
	t0 = time.Now()
	d := w.mustBuild(t, req)
	lap("cold", t0)
	img, err := w.images.Get(t.Context(), string(d))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d KB, %v", img.Size>>10, img.Config)
	if strings.Join(img.Config.Entrypoint, " ") != "/app" {
		t.Errorf("entrypoint %v", img.Config.Entrypoint)
	}
	for _, e := range img.Config.Env {
		if strings.Contains(e, "GO") {
			t.Errorf("setting of the build in the image: %s", e)
		}
	}
	if got := w.run(t, d, "/app"); got != "one Asia/Seoul <nil>\n" {
		t.Errorf("program says %q", got)
	}
	for range 3 {
		t0 = time.Now()
		again := w.mustBuild(t, req)
		lap("same", t0)
		if again != d {
			t.Errorf("the same source gave %s, then %s", d, again)
		}
	}
	w.write(t, ".git/HEAD", "changed")
	if again := w.mustBuild(t, req); again != d {
		t.Error("a commit alone made another image")
	}
	for _, word := range []string{"two", "three"} {
		w.write(t, "cmd/hello/main.go", "package main\n\nimport \"fmt\"\n\nfunc main() { fmt.Println(\""+word+"\") }\n")
		t0 = time.Now()
		d2 := w.mustBuild(t, req)
		lap("changed", t0)
		if got := w.run(t, d2, "/app"); got != word+"\n" {
			t.Errorf("program says %q", got)
		}
	}
	w.checkTmp(t, d)
	w.write(t, "cmd/hello/main.go", "package main\n\nfunc main() { nosuch() }\n")
	_, err = w.build(t.Context(), req, nil)
	t.Log(err)
	if naru.CodeOf(err) != naru.Failed || !strings.Contains(err.Error(), "undefined: nosuch") {
		t.Errorf("broken program: %v", err)
	}
}

var update = flag.Bool("update", false, "rewrite the golden files")

func TestGoDockerfile(t *testing.T) {
	got, err := goDockerfile("naru.local/golang:1.26.0", "./cmd/web", []string{"GOPROXY", "VERSION"})
	if err != nil {
		t.Fatal(err)
	}
	const golden = "testdata/go.Dockerfile"
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("the Dockerfile is\n%s\nwant\n%s", got, want)
	}
	for _, bad := range []string{"-x", "a b", "a\nRUN x", `a"`, "<<EOF", "$HOME"} {
		if _, err := goDockerfile("golang", bad, nil); naru.CodeOf(err) != naru.InvalidArgument {
			t.Errorf("package %q: %v", bad, err)
		}
		if _, err := goDockerfile("golang", ".", []string{bad}); naru.CodeOf(err) != naru.InvalidArgument {
			t.Errorf("argument %q: %v", bad, err)
		}
	}
}

// checkTmp checks that everybody may write to the image's /tmp.
func (w *world) checkTmp(t *testing.T, d naru.Digest) {
	t.Helper()
	root, err := w.images.Prepare(t.Context(), "tmp", d)
	if err != nil {
		t.Fatal(err)
	}
	defer w.images.Release(t.Context(), "tmp")
	e := &executor{mounts: filepath.Join(w.dir, "builder", "mounts")}
	e.withView(root, func(dir string) error {
		st, err := os.Stat(filepath.Join(dir, "tmp"))
		if err != nil || st.Mode()&os.ModeSticky == 0 || st.Mode().Perm() != 0o777 {
			t.Errorf("/tmp: %v %v", st, err)
		}
		return nil
	})
}
