package source

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"naru/naru"
)

var update = flag.Bool("update", false, "rewrite the want sections of testdata")

const (
	wantSpec  = "want.json"
	wantError = "want.error"
)

// TestLoad reads each archive in testdata as an app called app: its files, and the spec or the error that they give.
func TestLoad(t *testing.T) {
	archives, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(archives) == 0 {
		t.Fatalf("find archives: %v", err)
	}
	for _, file := range archives {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := outcome(t, unpack(t, archive))
			if *update {
				rewrite(t, file, archive, got)
			}
			if diff := cmp.Diff(wanted(archive), got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// unpack writes an archive's files to a new folder that is called app.
func unpack(t *testing.T, archive *txtar.Archive) string {
	dir := filepath.Join(t.TempDir(), "app")
	for _, f := range archive.Files {
		if f.Name == wantSpec || f.Name == wantError {
			continue
		}
		name := filepath.Join(dir, f.Name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, f.Data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// outcome is the section that loading dir makes. Errors show their code; the folder's random name is cut out.
func outcome(t *testing.T, dir string) txtar.File {
	spec, err := Load(t.Context(), dir, Options{Environment: []string{"FROM_CALLER=caller", "HOME=/nowhere"}})
	if err != nil {
		text := strings.ReplaceAll(string(naru.CodeOf(err))+": "+err.Error(), dir, "DIR")
		return txtar.File{Name: wantError, Data: []byte(text + "\n")}
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(spec); err != nil {
		t.Fatal(err)
	}
	return txtar.File{Name: wantSpec, Data: bytes.ReplaceAll(out.Bytes(), []byte(dir), []byte("DIR"))}
}

func wanted(archive *txtar.Archive) txtar.File {
	for _, f := range archive.Files {
		if f.Name == wantSpec || f.Name == wantError {
			return f
		}
	}
	return txtar.File{}
}

func rewrite(t *testing.T, file string, archive *txtar.Archive, got txtar.File) {
	kept := archive.Files[:0:0]
	for _, f := range archive.Files {
		if f.Name != wantSpec && f.Name != wantError {
			kept = append(kept, f)
		}
	}
	archive.Files = append(kept, got)
	if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
		t.Fatal(err)
	}
}
