package bare

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"naru/engine/sandbox/program"
)

// FuzzPathsStayInTheRoot: whatever a mount's destination says and an image's links lead to, what is opened, or made to be
// opened, lies in the root.
func FuzzPathsStayInTheRoot(f *testing.F) {
	for _, seed := range [][3]string{
		{"/a/b", "x", "../../.."}, {"/x", "x", "/etc"}, {"/x/y", "x", "../../../../tmp"}, {"//x//./y/../z", "x/y", "/proc/self/root"},
		{"/x/x/x", "x", "x"}, {"", "", ""}, {"/..", "a", "b"}, {"/x/etc/passwd", "x", "/proc/self/cwd"}, {"/d/e", "d", "nowhere/../../.."},
	} {
		f.Add(seed[0], seed[1], seed[2])
	}
	f.Fuzz(func(t *testing.T, destination, link, target string) {
		outer := t.TempDir()
		root := filepath.Join(outer, "root")
		if err := os.Mkdir(root, 0o755); err != nil {
			t.Fatal(err)
		}
		makeLink(root, link, target)
		code, room := program.Encode(nil, []program.Op{{Kind: program.Mkdir, Path: destination}})
		m := New(-1, -1, 0, len(code), room)
		copy(unsafe.Slice((*byte)(m.Reader.Pointer(program.Text{})), len(code)), code)
		if m.Reader.Fill(uint32(len(code)), uint32(room)); !m.Reader.Next(&m.Op) {
			t.Fatal("a program that cannot be read")
		}
		var err error
		if m.root, err = unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err != nil {
			t.Fatal(err)
		}
		defer unix.Close(m.root)
		for _, open := range []func(program.Text) (int, syscall.Errno){m.openDir, m.openFile} {
			fd, errno := open(m.Op.Path)
			if errno != 0 {
				continue
			}
			at, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
			unix.Close(fd)
			if err != nil || at != root && !strings.HasPrefix(at, root+"/") {
				t.Errorf("%q with %q -> %q opened %q, %v", destination, link, target, at, err)
			}
		}
		if entries, err := os.ReadDir(outer); err != nil || len(entries) != 1 {
			t.Errorf("made %v beside the root, %v", entries, err)
		}
	})
}

// makeLink makes a link in the root, where the words allow one.
func makeLink(root, link, target string) {
	at := filepath.Join(root, filepath.Clean("/"+link))
	_ = os.MkdirAll(filepath.Dir(at), 0o755) // a name with a NUL byte
	_ = os.Symlink(target, at)               // or the root itself
}
