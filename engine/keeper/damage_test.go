package keeper_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"naru/engine/keeper"
	"naru/engine/keeper/internal/wire"
	"naru/engine/logs"
	"naru/engine/sandbox/fork"
	"naru/naru"
)

func TestGarbageIsAnswered(t *testing.T) {
	c, dir := start(t)
	for _, packet := range []string{"x", "\x01\x02\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "\x01\xee", "\x01\x02" + strings.Repeat("\x01", 100000)} {
		conn, err := net.Dial("unixpacket", dir+"/keeper.sock")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write([]byte(packet)); err != nil {
			t.Fatal(err)
		}
		if reply, err := io.ReadAll(conn); len(reply) < 2 || reply[1] == 0 || err != nil {
			t.Errorf("%.9q was answered with %q, %v", packet, reply, err)
		}
		conn.Close()
	}
	spawn(t, c, "still", "exit 0", keeper.Output{})
	wait(t, c, "still")
}

func TestTooLongEnvironmentIsAnError(t *testing.T) {
	c, _ := start(t)
	cmd := script(t, "")
	cmd.Env = []string{"A=" + strings.Repeat("x", 1<<20)}
	if _, err := c.Spawn(t.Context(), "long", cmd, keeper.Output{}); err == nil || !strings.Contains(err.Error(), "limits") {
		t.Error(err)
	}
	cmd.Env = []string{"A=" + strings.Repeat("x", 120<<10), "B=" + strings.Repeat("y", 120<<10)}
	p, err := c.Spawn(t.Context(), "large", cmd, keeper.Output{})
	if err != nil {
		t.Fatal(err)
	}
	p.FD.Close()
	wait(t, c, "large")
}

// TestDescriptorsRunOut: without descriptors the keeper turns clients away, and serves again when it has some.
func TestDescriptorsRunOut(t *testing.T) {
	c, dir := start(t)
	var before unix.Rlimit
	if err := unix.Prlimit(c.Info().PID, unix.RLIMIT_NOFILE, nil, &before); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a client is turned away", func() bool { // the keeper may be about to close the client before
		few := unix.Rlimit{Cur: lowestFree(c.Info().PID), Max: before.Max}
		if err := unix.Prlimit(c.Info().PID, unix.RLIMIT_NOFILE, &few, nil); err != nil {
			t.Error(err)
		}
		_, err := c.Children(t.Context())
		return err != nil
	})
	if err := unix.Prlimit(c.Info().PID, unix.RLIMIT_NOFILE, &before, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Children(t.Context()); err != nil {
		t.Error(err)
	}
	os.Remove(dir + "/keeper.log") // it says what happened
}

// TestKeeperHoldsNothingOfTheDaemon: a descriptor that a daemon forgot to mark would be open as long as the keeper.
func TestKeeperHoldsNothingOfTheDaemon(t *testing.T) {
	var stray [2]int
	if err := unix.Pipe2(stray[:], 0); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(stray[0])
	defer unix.Close(stray[1])
	pipe, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", stray[0]))
	if err != nil {
		t.Fatal(err)
	}
	c, _ := start(t)
	held, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", c.Info().PID))
	if err != nil || len(held) < 5 {
		t.Fatal(held, err)
	}
	for _, fd := range held { // one that is gone by now was the keeper's own
		if file, err := os.Readlink(fd); file == pipe || err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is %s, %v", fd, file, err)
		}
	}
}

// lowestFree is the lowest descriptor number that a process does not use.
func lowestFree(pid int) (n uint64) {
	for {
		if _, err := os.Lstat(fmt.Sprintf("/proc/%d/fd/%d", pid, n)); err != nil {
			return n
		}
		n++
	}
}

// TestHungBirthHoldsUpNothing starts a process in a frozen cgroup, where it cannot get as far as exec.
func TestHungBirthHoldsUpNothing(t *testing.T) {
	c, dir := start(t)
	tasks, thaw := frozenCgroup(t)
	cmd := script(t, "exit 9")
	cmd.Cgroups = []*os.File{tasks}
	started := make(chan error, 1)
	go func() {
		p, err := c.Spawn(t.Context(), "frozen", cmd, keeper.Output{})
		p.FD.Close()
		started <- err
	}()
	eventually(t, "the id is taken", func() bool {
		_, err := c.PidFD(t.Context(), "frozen")
		return err != nil && strings.Contains(err.Error(), "not started yet")
	})
	spawn(t, c, "warm", "echo warm", keeper.Output{LogDir: dir + "/logs"})
	wait(t, c, "warm")
	if err := c.Quit(t.Context()); !errors.Is(err, keeper.ErrKept) {
		t.Errorf("quit: %v", err)
	}
	thaw()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	if e := wait(t, c, "frozen"); e.Code != 9 {
		t.Errorf("%+v", e)
	}
}

// TestWhoGivesUpASpawnLeavesNothing: the process is born later, when nobody is there who would forget its exit.
func TestWhoGivesUpASpawnLeavesNothing(t *testing.T) {
	c, dir := start(t)
	tasks, thaw := frozenCgroup(t)
	cmd := script(t, "echo late; exit 9")
	cmd.Cgroups = []*os.File{tasks}
	ctx, cancel := context.WithCancel(t.Context())
	given := make(chan error)
	go func() {
		_, err := c.Spawn(ctx, "late", cmd, keeper.Output{LogDir: dir + "/late"})
		given <- err
	}()
	eventually(t, "the id is taken", func() bool {
		_, err := c.PidFD(t.Context(), "late")
		return err != nil && strings.Contains(err.Error(), "not started yet")
	})
	cancel()
	if err := <-given; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	spawn(t, c, "late", "exit 5", keeper.Output{}) // the id is free
	if err := c.Quit(t.Context()); !errors.Is(err, keeper.ErrKept) {
		t.Errorf("quit: %v", err)
	}
	thaw()
	if e := wait(t, c, "late"); e.Code != 5 {
		t.Errorf("%+v", e)
	}
	if err := c.Forget(t.Context(), "late"); err != nil {
		t.Error(err)
	}
	eventually(t, "nothing is left of the process", func() bool { return c.Quit(t.Context()) == nil })
	if got := written(t, dir+"/late", logs.Stdout); got != "" {
		t.Errorf("it went as far as to say %q", got)
	}
}

// TestARequestOfWhoHasGoneLeavesNothing: the client went away before the keeper had a look at what it asked for.
func TestARequestOfWhoHasGoneLeavesNothing(t *testing.T) {
	c, dir := start(t)
	if err := unix.Kill(c.Info().PID, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	conn, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: dir + "/keeper.sock", Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	cmd := script(t, "exit 9")
	r := wire.Request{Version: wire.Version, Op: wire.Spawn, ID: "unread", Spawn: wire.SpawnRequest{Args: cmd.Args, HasExe: true}}
	_, _, err = conn.WriteMsgUnix(r.Encode(), unix.UnixRights(int(cmd.Exe.Fd())), nil)
	if err := errors.Join(err, conn.Close(), unix.Kill(c.Info().PID, unix.SIGCONT)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "nothing is left of the process", func() bool { return c.Quit(t.Context()) == nil })
}

// frozenCgroup makes a frozen cgroup of v1.
func frozenCgroup(t *testing.T) (tasks *os.File, thaw func()) {
	t.Helper()
	const root = "/sys/fs/cgroup/freezer"
	if _, err := os.Stat(root + "/tasks"); err != nil {
		t.Skip("needs the freezer of cgroup v1")
	}
	dir, err := os.MkdirTemp(root, "naru-test-")
	if err != nil {
		t.Fatal(err)
	}
	state := func(s string) {
		if err := os.WriteFile(dir+"/freezer.state", []byte(s), 0); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(func() {
		state("THAWED")
		eventually(t, "the cgroup is empty", func() bool { return os.Remove(dir) == nil })
	})
	if tasks, err = os.OpenFile(dir+"/tasks", os.O_WRONLY, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tasks.Close() })
	state("FROZEN")
	return tasks, func() { state("THAWED") }
}

func TestOutputCanBeOpenedInAUserNamespace(t *testing.T) {
	c, dir := start(t)
	cmd := script(t, "echo reopened >/proc/self/fd/1")
	cmd.Namespaces = unix.CLONE_NEWUSER
	cmd.UIDMap = []fork.IDMap{{ContainerID: 0, HostID: 100000, Size: 1000}}
	cmd.GIDMap = cmd.UIDMap
	p, err := c.Spawn(t.Context(), "mapped", cmd, keeper.Output{LogDir: dir + "/logs"})
	if err != nil {
		t.Fatal(err)
	}
	p.FD.Close()
	wait(t, c, "mapped")
	if got := written(t, dir+"/logs", logs.Stdout); got != "reopened\n" {
		t.Errorf("stdout %q, stderr %q", got, written(t, dir+"/logs", logs.Stderr))
	}
}

// TestNewerDaemonBringsItsOwnInit: a process without an executable runs the client's, not that of the older keeper.
func TestNewerDaemonBringsItsOwnInit(t *testing.T) {
	c, dir := start(t)
	newer := newerClient(t, dir)
	if newer.Info().Current || newer.Info().PID != c.Info().PID || !c.Info().Current {
		t.Errorf("old %+v, new %+v", c.Info(), newer.Info())
	}
	for _, test := range []struct {
		client *keeper.Client
		id     string
		same   bool
	}{{c, "old", true}, {newer, "new", false}} {
		pid := spawnInit(t, test.client, test.id)
		if same := sameFile(t, pid, c.Info().PID); same != test.same {
			t.Errorf("the %s client's process runs the keeper's executable: %v", test.id, same)
		}
	}
}

// newerClient is a client whose executable is another build.
func newerClient(t *testing.T, dir string) *keeper.Client {
	t.Helper()
	b, err := os.ReadFile(os.Getenv(elfVariable))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "newer")
	if err := os.WriteFile(path, append(b, 0), 0o700); err != nil {
		t.Fatal(err)
	}
	elf, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { elf.Close() })
	c, err := keeper.Ensure(t.Context(), keeper.Options{Dir: dir, Executable: elf})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// spawnInit starts an init that waits for its program for ever.
func spawnInit(t *testing.T, c *keeper.Client, id string) (pid int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "ours"), os.NewFile(uintptr(fds[1]), "theirs")
	defer theirs.Close()
	t.Cleanup(func() { ours.Close() })
	cmd := fork.Cmd{Args: []string{"init"}, Files: []*os.File{nil, nil, nil, theirs}}
	p, err := c.Spawn(t.Context(), id, cmd, keeper.Output{})
	if err != nil {
		t.Fatal(err)
	}
	p.FD.Close()
	return p.PID
}

// sameFile reports whether two processes run the same file.
func sameFile(t *testing.T, a, b int) bool {
	t.Helper()
	x, errX := os.Stat(fmt.Sprintf("/proc/%d/exe", a))
	y, errY := os.Stat(fmt.Sprintf("/proc/%d/exe", b))
	if err := errors.Join(errX, errY); err != nil {
		t.Fatal(err)
	}
	return os.SameFile(x, y)
}

// TestForeignKeeper: a keeper of another protocol is named as what it is.
func TestForeignKeeper(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("a keeper runs as root")
	}
	dir := t.TempDir()
	l, err := net.Listen("unixpacket", dir+"/keeper.sock")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	served := make(chan error, 1)
	go func() { served <- answerOnce(l, []byte{200, 0, 1, 2, 3}) }()
	_, err = connect(t.Context(), dir)
	if !errors.Is(err, keeper.ErrForeign) || naru.CodeOf(err) != naru.FailedPrecondition || !strings.Contains(err.Error(), "protocol 200") {
		t.Error(err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}

func answerOnce(l net.Listener, reply []byte) error {
	conn, err := l.Accept()
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := conn.Read(make([]byte, 100)); err != nil {
		return err
	}
	_, err = conn.Write(reply)
	return err
}

// TestKeeperThatCannotStart: the reason is in the error.
func TestKeeperThatCannotStart(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("a keeper runs as root")
	}
	dir := t.TempDir()
	if err := os.Mkdir(dir+"/keeper.pid", 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := connect(t.Context(), dir); err == nil || !strings.Contains(err.Error(), syscall.EISDIR.Error()) {
		t.Error(err)
	}
}

// TestKeeperWithoutItsSocket: one that nobody can reach holds the folder. There is no second one beside it.
func TestKeeperWithoutItsSocket(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("a keeper runs as root")
	}
	dir := t.TempDir()
	lock, err := os.Create(dir + "/keeper.pid")
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	// Long enough for a slow machine to get as far as waiting: the time is spent whole, for the socket never comes.
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	if _, err := connect(ctx, dir); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "holds "+dir) {
		t.Error(err)
	}
}
