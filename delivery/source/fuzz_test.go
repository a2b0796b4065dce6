package source

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"naru/naru"
)

func FuzzParseProcfile(f *testing.F) {
	f.Add([]byte("web: serve --port 80\n# comment\nworker: \"two words\" a\\ b"))
	f.Add([]byte("web: a\nweb: b\nrelease: c\n:\n"))
	f.Fuzz(func(t *testing.T, content []byte) {
		processes, err := parseProcfile(content)
		if (err == nil) == (len(processes) == 0) {
			t.Fatalf("%d processes and error %v", len(processes), err)
		}
		for _, p := range processes {
			if words, err := splitWords(p.command); err == nil && words[0] == "" {
				t.Errorf("command %q has no program", p.command)
			}
		}
	})
}

// FuzzLoad feeds Load the bytes of a Compose file. Whatever they are, an error has a code and names the file, and an
// app has valid names and sorted services.
func FuzzLoad(f *testing.F) {
	f.Add([]byte("services: {web: {image: x, ports: ['80:80'], x-naru: {route: a.example/b}}}"))
	f.Add([]byte("x-a: &a {<<: *a}\nservices: {web: {<<: *a, build: ., command: \"a 'b\"}}"))
	f.Add([]byte("services:\n  web:\n    image: ${A:-b}\n    deploy: {resources: {limits: {cpus: 1e9}}}\n"))
	f.Add([]byte("services: {a: {extends: {file: compose.yaml, service: a}}}"))
	f.Fuzz(func(t *testing.T, content []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "compose.yaml"), content, 0o644); err != nil {
			t.Fatal(err)
		}
		app, err := Load(t.Context(), dir, Options{App: "fuzz"})
		if err != nil {
			if naru.CodeOf(err) == naru.Internal || !strings.Contains(err.Error(), "compose.yaml:") {
				t.Fatalf("an error without code or place: %s: %v", naru.CodeOf(err), err)
			}
			return
		}
		for i, s := range app.Services {
			if s.Name.Validate() != nil || i > 0 && app.Services[i-1].Name >= s.Name {
				t.Fatalf("services %+v", app.Services)
			}
		}
	})
}
