package archive

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func open(t testing.TB, dir string) *os.Root {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = root.Close() })
	return root
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestWhatIsPackedIsUnpackedTheSame(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	must(t, os.MkdirAll(filepath.Join(from, "a/b"), 0o750))
	must(t, os.WriteFile(filepath.Join(from, "a/file"), []byte("content"), 0o640))
	must(t, os.Link(filepath.Join(from, "a/file"), filepath.Join(from, "a/b/same")))
	must(t, os.Symlink("/etc/passwd", filepath.Join(from, "a/link")))
	must(t, unix.Mkfifo(filepath.Join(from, "a/pipe"), 0o600))
	old := time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)
	must(t, os.Chtimes(filepath.Join(from, "a/b"), old, old))
	var stream bytes.Buffer
	must(t, Pack(&stream, open(t, from), "a", "x", Options{}))
	must(t, Unpack(&stream, open(t, to), Options{Owner: &Owner{os.Getuid(), os.Getgid()}}))
	if b, err := os.ReadFile(filepath.Join(to, "x/b/same")); err != nil || string(b) != "content" {
		t.Errorf("%q %v", b, err)
	}
	one, err := os.Stat(filepath.Join(to, "x/file"))
	must(t, err)
	other, err := os.Stat(filepath.Join(to, "x/b/same"))
	must(t, err)
	if !os.SameFile(one, other) || one.Mode() != 0o640 {
		t.Errorf("two files, or mode %v", one.Mode())
	}
	if target, err := os.Readlink(filepath.Join(to, "x/link")); err != nil || target != "/etc/passwd" {
		t.Errorf("%q %v", target, err)
	}
	if b, err := os.Stat(filepath.Join(to, "x/b")); err != nil || !b.ModTime().Equal(old) || b.Mode().Perm() != 0o750 {
		t.Errorf("%v %v", b, err)
	}
	if p, err := os.Stat(filepath.Join(to, "x/pipe")); err != nil || p.Mode()&os.ModeNamedPipe == 0 {
		t.Errorf("%v %v", p, err)
	}
}

// hostile are streams that want to write outside of the folder.
var hostile = map[string][]tar.Header{
	"a name that climbs":          {{Name: "../out", Typeflag: tar.TypeReg}},
	"a link that climbs":          {{Name: "l", Typeflag: tar.TypeLink, Linkname: "../secret"}},
	"through a symlink":           {{Name: "d", Typeflag: tar.TypeSymlink, Linkname: ".."}, {Name: "d/out", Typeflag: tar.TypeReg}},
	"through an absolute symlink": {{Name: "d", Typeflag: tar.TypeSymlink, Linkname: "/tmp"}, {Name: "d/naru-out", Typeflag: tar.TypeReg}},
	"a device":                    {{Name: "dev", Typeflag: tar.TypeChar}},
}

func streamOf(t testing.TB, headers []tar.Header) *bytes.Buffer {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		h.Mode = 0o644
		must(t, w.WriteHeader(&h))
	}
	must(t, w.Close())
	return &b
}

func TestNothingIsWrittenOutside(t *testing.T) {
	for name, headers := range hostile {
		t.Run(name, func(t *testing.T) {
			outside := t.TempDir()
			must(t, os.WriteFile(filepath.Join(outside, "secret"), nil, 0o600))
			inside := filepath.Join(outside, "in")
			must(t, os.Mkdir(inside, 0o700))
			if err := Unpack(streamOf(t, headers), open(t, inside), Options{Owner: &Owner{os.Getuid(), os.Getgid()}}); err == nil {
				t.Error("it was taken")
			}
			entries, err := os.ReadDir(outside)
			if err != nil || len(entries) != 2 {
				t.Errorf("outside there is %v, %v", entries, err)
			}
		})
	}
}

func TestAFolderOutsideIsNotPacked(t *testing.T) {
	dir := t.TempDir()
	must(t, os.Symlink("/etc", filepath.Join(dir, "out")))
	var stream bytes.Buffer
	must(t, Pack(&stream, open(t, dir), ".", "x", Options{}))
	for r := tar.NewReader(&stream); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		must(t, err)
		if strings.HasPrefix(h.Name, "x/out/") {
			t.Errorf("%s is in it", h.Name)
		}
	}
}

func FuzzUnpack(f *testing.F) {
	for _, headers := range hostile {
		f.Add(streamOf(f, headers).Bytes())
	}
	f.Fuzz(func(t *testing.T, stream []byte) {
		if len(stream) > 64<<10 {
			t.Skip()
		}
		outside := t.TempDir()
		inside := filepath.Join(outside, "in")
		must(t, os.Mkdir(inside, 0o700))
		_ = Unpack(bytes.NewReader(stream), open(t, inside), Options{Owner: &Owner{os.Getuid(), os.Getgid()}})
		if entries, err := os.ReadDir(outside); err != nil || len(entries) != 1 {
			t.Fatalf("outside there is %v, %v", entries, err)
		}
	})
}
