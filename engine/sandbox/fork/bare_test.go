package fork_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"naru/engine/sandbox/bare"
	"naru/engine/sandbox/fork"
	"naru/engine/sandbox/program"
)

// bareChild is a child that executes a program between fork and exec.
type bareChild struct {
	t      *testing.T
	pid    int
	talk   *os.File // the daemon's end of its socket
	stdout *os.File
}

func startBare(t *testing.T) bareChild {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	c := bareChild{t: t, talk: os.NewFile(uintptr(fds[0]), "ours")}
	theirs := os.NewFile(uintptr(fds[1]), "theirs")
	var out *os.File
	c.stdout, out, err = os.Pipe()
	must(t, err)
	p, err := fork.Start(fork.Cmd{Bare: true, Args: []string{"bare"}, Files: []*os.File{nil, out, nil, theirs}, Setsid: true, KillWithParent: true})
	must(t, err)
	must(t, theirs.Close())
	must(t, out.Close())
	c.pid = p.PID
	t.Cleanup(func() {
		_ = unix.Kill(p.PID, unix.SIGKILL) // most have ended
		_, err := unix.Wait4(p.PID, nil, 0, nil)
		must(t, err)
		for _, f := range []*os.File{p.FD, c.talk, c.stdout} {
			must(t, f.Close())
		}
	})
	return c
}

func (c bareChild) send(ops ...program.Op) {
	c.t.Helper()
	code, room := program.Encode(nil, ops)
	_, err := c.talk.Write(append(program.Head(len(code), room, 0), code...))
	must(c.t, err)
}

// hear reads what the child says until it ends, or is another program.
func (c bareChild) hear() []byte {
	c.t.Helper()
	said, err := io.ReadAll(c.talk)
	must(c.t, err)
	return said
}

// failed reads the child's last words.
func (c bareChild) failed() program.Failure {
	c.t.Helper()
	said := c.hear()
	at := bytes.IndexByte(said, program.MsgFailure)
	if at < 0 {
		c.t.Fatalf("it said %q, no failure", said)
	}
	f, err := program.DecodeFailure(said[at+5:])
	must(c.t, err)
	return f
}

// TestABareChildBecomesItsProgram finds it in PATH, past places that lack it, with the words and the environment it was
// given, and HOME.
func TestABareChildBecomesItsProgram(t *testing.T) {
	needBusybox(t)
	dir := t.TempDir()
	must(t, os.Symlink("/bin/busybox", filepath.Join(dir, "env")))
	c := startBare(t)
	c.send(program.Op{Kind: program.Cwd, Path: "/"}, program.Op{Kind: program.Exec, List: []string{"env"}, Env: []string{"A=1", "PATH=/nowhere::" + dir, "B=2"}})
	if said := c.hear(); string(said) != string(program.MsgReady) {
		t.Fatalf("it said %q", said)
	}
	out, err := io.ReadAll(c.stdout)
	must(t, err)
	home := "HOME=/root\n" // the test's own /etc/passwd, as everywhere
	if got := string(out); !strings.HasPrefix(got, "A=1\nPATH=/nowhere::"+dir+"\nB=2\n") || os.Getuid() == 0 && !strings.HasSuffix(got, home) {
		t.Errorf("it printed %q", got)
	}
}

// TestABareChildKeepsNothingOfItsParents: what exec would close is closed already, or one that waits would keep others'
// pipes open.
func TestABareChildKeepsNothingOfItsParents(t *testing.T) {
	r, w, err := os.Pipe()
	must(t, err)
	defer r.Close()
	c := startBare(t)
	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", c.pid))
	must(t, err)
	if len(fds) != 4 { // 0, 1, 2 and the socket
		t.Errorf("it has %d files", len(fds))
	}
	must(t, w.Close())
	if _, err := io.ReadAll(r); err != nil { // ends only if the child has not got the other side
		t.Error(err)
	}
	if status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.pid)); err != nil || !bytes.Contains(status, []byte("Threads:\t1\n")) {
		t.Errorf("%v: %s", err, status)
	}
}

// TestABareChildSaysWhatFailed names the operation, the kernel's error and what it was about.
func TestABareChildSaysWhatFailed(t *testing.T) {
	for _, c := range []struct {
		ops  []program.Op
		want program.Failure
	}{
		{[]program.Op{{Kind: program.Cwd, Path: "/nowhere"}}, failure(program.Cwd, unix.ENOENT, "/nowhere")},
		{[]program.Op{{Kind: program.Exec, List: []string{"nobody-has-this"}}}, failure(program.Exec, unix.ENOENT, "nobody-has-this")},
		{[]program.Op{{Kind: program.Exec, List: []string{"/etc/passwd"}}}, failure(program.Exec, unix.EACCES, "/etc/passwd")},
		{[]program.Op{{Kind: program.Attach, Path: "0", Source: "/layer", FD: 3}}, failure(program.Attach, unix.EBADF, "/layer")},
		{[]program.Op{{Kind: program.Hook, Path: "/bin/true"}}, failure(program.Hook, unix.ENOSYS, "")},
		{[]program.Op{{Kind: program.Keyring}}, failure(0, unix.EINVAL, "the program")}, // has no end
		{nil, failure(0, unix.EINVAL, "the program")},
	} {
		child := startBare(t)
		child.send(c.ops...)
		if got := child.failed(); got != c.want {
			t.Errorf("%v: it said %+v, want %+v", c.ops, got, c.want)
		}
	}
}

func failure(kind program.Kind, errno syscall.Errno, about string) program.Failure {
	return program.Failure{Kind: kind, Errno: uint32(errno), Text: about}
}

// TestABareChildRefusesWhatDoesNotFit: its memory was laid out before its program came.
func TestABareChildRefusesWhatDoesNotFit(t *testing.T) {
	for what, head := range map[string][]byte{
		"size": program.Head(bare.MaxSize+1, 1, 0), "room": program.Head(1, bare.MaxRoom+1, 0), "files": program.Head(1, 1, bare.MaxFiles+1),
		"all": {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
	} {
		c := startBare(t)
		_, err := c.talk.Write(head)
		must(t, err)
		if got := c.failed(); syscall.Errno(got.Errno) != unix.ENOMEM {
			t.Errorf("%s: it said %+v", what, got)
		}
	}
}

// TestABareChildEndsWithItsDaemon: nobody is left to tell it what to do.
func TestABareChildEndsWithItsDaemon(t *testing.T) {
	c := startBare(t)
	must(t, unix.Shutdown(int(c.talk.Fd()), unix.SHUT_WR))
	if said := c.hear(); len(said) > 0 {
		t.Errorf("it said %q", said)
	}
}

func needBusybox(t *testing.T) {
	t.Helper()
	if _, err := os.Stat("/bin/busybox"); err != nil {
		t.Skip("needs busybox-static at /bin/busybox:", err)
	}
}
