package volume

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"naru/naru"
)

func open(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func write(name, content string) func(string) error {
	return func(dir string) error { return os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600) }
}

func TestFillIsForWhatIsEmptyAndWholeOrNotAtAll(t *testing.T) {
	s := open(t, t.TempDir())
	half := errors.New("half")
	if _, err := s.Fill("v", naru.DiskLimit{}, func(dir string) error { return errors.Join(write("file", "1")(dir), half) }); !errors.Is(err, half) {
		t.Fatal(err)
	}
	if _, err := s.Get("v"); naru.CodeOf(err) != naru.NotFound {
		t.Fatalf("half a volume is there: %v", err)
	}
	if _, err := s.Ensure("v", naru.DiskLimit{}); err != nil {
		t.Fatal(err)
	}
	path, err := s.Fill("v", naru.DiskLimit{}, write("file", "2"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Fill("v", naru.DiskLimit{}, write("file", "3")); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(filepath.Join(path, "file")); err != nil || string(b) != "2" {
		t.Fatalf("%q %v", b, err)
	}
	if list, err := s.List(); err != nil || len(list) != 1 || list[0].Name != "v" || list[0].CreatedAt.IsZero() {
		t.Fatalf("%+v %v", list, err)
	}
}

func TestWhatADeadDaemonWasFillingGoes(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, halfMade+"v", "sub"), 0o700); err != nil {
		t.Fatal(err)
	}
	if list, err := open(t, dir).List(); err != nil || len(list) != 0 {
		t.Fatalf("%+v %v", list, err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Fatalf("%v %v", left, err)
	}
}

func TestNamesAreNoPaths(t *testing.T) {
	s := open(t, t.TempDir())
	for _, name := range []string{"", ".", "..", "../x", "a/b", "/etc", halfMade + "v"} {
		if _, err := s.Ensure(name, naru.DiskLimit{}); naru.CodeOf(err) != naru.InvalidArgument {
			t.Errorf("ensure %q: %v", name, err)
		}
		if _, err := s.Fill(name, naru.DiskLimit{}, func(string) error { return nil }); naru.CodeOf(err) != naru.InvalidArgument {
			t.Errorf("fill %q: %v", name, err)
		}
		if err := s.Remove(name); naru.CodeOf(err) != naru.InvalidArgument {
			t.Errorf("remove %q: %v", name, err)
		}
	}
}
