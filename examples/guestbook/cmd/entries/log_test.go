package main

import (
	"os"
	"path/filepath"
	"testing"

	"guestbook/internal/book"
)

// TestTornLine writes what a crash leaves behind, and a whole entry after it from a second log on the same file.
func TestTornLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "entries.jsonl")
	if err := os.WriteFile(path, []byte(`{"name":"torn","te`), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"first", "second"} {
		l, err := openLog(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.append(book.Entry{Draft: book.Draft{Name: name, Text: "hello"}}); err != nil {
			t.Fatal(err)
		}
		defer l.close()
		if got, err := l.newest(1); err != nil || len(got) != 1 || got[0].Name != name {
			t.Fatalf("newest after %s: %v, %v", name, got, err)
		}
	}
}
