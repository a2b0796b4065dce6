package keeper_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"naru/engine/keeper"
	"naru/engine/logs"
	"naru/engine/sandbox/fork"
)

// elfVariable names the keeper's executable for the processes that the tests start from their own executable.
const elfVariable = "NARU_TEST_KEEPER"

// TestMain builds the keeper once, or plays a daemon that will be killed.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "daemon" {
		daemon(os.Args[2])
		return
	}
	os.Exit(buildAndRun(m))
}

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "naru-keeper-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	elf := filepath.Join(dir, "keeper")
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", elf, "naru/cmd/naru-keeper")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		panic(fmt.Sprintf("build the keeper: %v\n%s", err, out))
	}
	if err := os.Setenv(elfVariable, elf); err != nil {
		panic(err)
	}
	return m.Run()
}

// connect is Ensure with the executable that TestMain built.
func connect(ctx context.Context, dir string) (*keeper.Client, error) {
	elf, err := os.Open(os.Getenv(elfVariable))
	if err != nil {
		return nil, err
	}
	defer elf.Close()
	return keeper.Ensure(ctx, keeper.Options{Dir: dir, Executable: elf})
}

// daemon is a client that starts a child and keeps a socket, says so, and waits to be killed.
func daemon(dir string) {
	ctx := context.Background()
	c, err := connect(ctx, dir)
	if err != nil {
		panic(err)
	}
	p, err := c.Spawn(ctx, "long", script(nil, `read go <`+dir+`/fifo; seq 20000; exit 7`), keeper.Output{LogDir: dir + "/logs"})
	if err != nil {
		panic(err)
	}
	l, err := c.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(p.PID, l.Addr())
	select {}
}

// start returns a client of a keeper in a new folder, and checks in the end that nothing is left of both.
func start(t *testing.T) (*keeper.Client, string) {
	t.Helper()
	dir := t.TempDir()
	return startIn(t, dir), dir
}

func startIn(t *testing.T, dir string) *keeper.Client {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("a keeper runs as root")
	}
	c, err := connect(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, c, dir) })
	return c
}

// stop ends all that the keeper keeps, then the keeper.
func stop(t *testing.T, c *keeper.Client, dir string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	children, err := c.Children(ctx)
	if err != nil && !errors.Is(err, keeper.ErrGone) {
		t.Error(err)
	}
	for _, child := range children {
		if !child.Exited {
			_ = unix.Kill(child.PID, unix.SIGKILL)
		}
		_, err := c.Wait(ctx, child.ID)
		if err := errors.Join(err, c.Forget(ctx, child.ID)); err != nil {
			t.Error(err)
		}
	}
	names, _ := c.AllKept(ctx)
	for _, name := range names {
		if err := c.Release(ctx, name); err != nil {
			t.Error(err)
		}
	}
	if err := errors.Join(c.Quit(ctx), c.Close()); err != nil {
		t.Error(err)
	}
	checkLeft(t, c.Info().PID, dir)
}

// checkLeft checks that the keeper left neither itself nor files of its own.
func checkLeft(t *testing.T, pid int, dir string) {
	t.Helper()
	if stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err == nil && !strings.Contains(string(stat), ") Z ") {
		t.Errorf("keeper %d still runs: %s", pid, stat)
	}
	for _, name := range []string{"keeper.sock", "keeper.pid", "keeper.log", "exits"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			log, _ := os.ReadFile(filepath.Join(dir, "keeper.log"))
			t.Errorf("%s is left; log: %s", name, log)
		}
	}
}

// script is a command for sh. Without t the shell stays open, for a process that is killed.
func script(t *testing.T, text string) fork.Cmd {
	sh, err := os.Open("/bin/sh")
	if err != nil {
		panic(err)
	}
	if t != nil {
		t.Cleanup(func() { sh.Close() })
	}
	return fork.Cmd{Exe: sh, Args: []string{"sh", "-c", text}, Env: []string{"PATH=/usr/bin:/bin"}}
}

func spawn(t *testing.T, c *keeper.Client, id, text string, out keeper.Output) fork.Process {
	t.Helper()
	p, err := c.Spawn(t.Context(), id, script(t, text), out)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.FD.Close() })
	return p
}

func wait(t *testing.T, c *keeper.Client, id string) keeper.Exit {
	t.Helper()
	exit, err := c.Wait(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return exit
}

// written is all that a stream's logs hold.
func written(t *testing.T, dir string, stream logs.Stream) string {
	t.Helper()
	var b strings.Builder
	for e, err := range logs.Read(t.Context(), dir, logs.Options{}) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Stream == stream {
			b.Write(e.Data)
		}
	}
	return b.String()
}

func TestExitCodeAndSignal(t *testing.T) {
	c, _ := start(t)
	spawn(t, c, "code", "exit 42", keeper.Output{})
	spawn(t, c, "signal", "kill -9 $$", keeper.Output{})
	if e := wait(t, c, "code"); e.Code != 42 || e.Signal != 0 || e.At.IsZero() {
		t.Errorf("exit 42 is %+v", e)
	}
	if e := wait(t, c, "signal"); e.Code != 137 || e.Signal != 9 {
		t.Errorf("kill -9 is %+v", e)
	}
}

func TestSpawnInNamespaces(t *testing.T) {
	c, dir := start(t)
	cmd := script(t, "echo $$; readlink /proc/self/ns/mnt")
	cmd.Namespaces = unix.CLONE_NEWPID | unix.CLONE_NEWNS
	p, err := c.Spawn(t.Context(), "inside", cmd, keeper.Output{LogDir: dir + "/logs"})
	if err != nil {
		t.Fatal(err)
	}
	defer p.FD.Close()
	wait(t, c, "inside")
	own, err := os.Readlink("/proc/self/ns/mnt")
	if err != nil {
		t.Fatal(err)
	}
	pid, mnt, _ := strings.Cut(written(t, dir+"/logs", logs.Stdout), "\n")
	if pid != "1" || strings.TrimSpace(mnt) == own || mnt == "" {
		t.Errorf("inside it is pid %q with mount namespace %q; outside that is %q", pid, mnt, own)
	}
}

func TestSpawnGivesFilesAndFailsClearly(t *testing.T) {
	c, _ := start(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd := script(t, "echo out; echo extra >&3")
	cmd.Files = []*os.File{nil, w, nil, w}
	p, err := c.Spawn(t.Context(), "files", cmd, keeper.Output{})
	if err != nil {
		t.Fatal(err)
	}
	p.FD.Close()
	w.Close()
	if out, err := io.ReadAll(r); string(out) != "out\nextra\n" || err != nil {
		t.Errorf("got %q, %v", out, err)
	}
	cmd = script(t, "")
	cmd.Exe, err = os.Open("/etc/hostname")
	if err != nil {
		t.Fatal(err)
	}
	defer cmd.Exe.Close()
	if _, err := c.Spawn(t.Context(), "bad", cmd, keeper.Output{}); !errors.Is(err, syscall.EACCES) && !errors.Is(err, syscall.ENOEXEC) {
		t.Errorf("a text file as executable: %v", err)
	}
	if children, err := c.Children(t.Context()); err != nil || len(children) != 1 {
		t.Errorf("the failed one is among %v, %v", children, err)
	}
}

func TestLogsOfBothStreams(t *testing.T) {
	c, dir := start(t)
	spawn(t, c, "talk", "echo one; echo two >&2; printf three", keeper.Output{LogDir: dir + "/logs"})
	wait(t, c, "talk")
	if got := written(t, dir+"/logs", logs.Stdout); got != "one\nthree" {
		t.Errorf("stdout: %q", got)
	}
	if got := written(t, dir+"/logs", logs.Stderr); got != "two\n" {
		t.Errorf("stderr: %q", got)
	}
}

func TestIDIsNotReusedUntilForgotten(t *testing.T) {
	c, _ := start(t)
	spawn(t, c, "a/exec-1", "exit 1", keeper.Output{})
	if _, err := c.Spawn(t.Context(), "a/exec-1", script(t, ""), keeper.Output{}); !errors.Is(err, keeper.ErrExists) {
		t.Errorf("the same id: %v", err)
	}
	wait(t, c, "a/exec-1")
	if _, err := c.PidFD(t.Context(), "a/exec-1"); !errors.Is(err, keeper.ErrExited) {
		t.Errorf("pidfd of the exited: %v", err)
	}
	if err := c.Forget(t.Context(), "a/exec-1"); err != nil {
		t.Fatal(err)
	}
	spawn(t, c, "a/exec-1", "exit 2", keeper.Output{})
	if e := wait(t, c, "a/exec-1"); e.Code != 2 {
		t.Errorf("second: %+v", e)
	}
	for _, id := range []string{"", ".hidden", "a b", "%", strings.Repeat("x", 300)} {
		if _, err := c.Spawn(t.Context(), id, script(t, ""), keeper.Output{}); err == nil {
			t.Errorf("id %q was taken", id)
		}
	}
}

func TestRunningChildIsKept(t *testing.T) {
	c, dir := start(t)
	p := spawn(t, c, "sleeper", "sleep 1000", keeper.Output{})
	if err := c.Forget(t.Context(), "sleeper"); !errors.Is(err, keeper.ErrKept) {
		t.Errorf("forget: %v", err)
	}
	if err := c.Quit(t.Context()); !errors.Is(err, keeper.ErrKept) || !strings.Contains(err.Error(), "1 processes") {
		t.Errorf("quit: %v", err)
	}
	for _, s := range []syscall.Signal{unix.SIGTERM, unix.SIGINT, unix.SIGHUP} {
		if err := unix.Kill(c.Info().PID, s); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		if log, err := os.ReadFile(dir + "/keeper.log"); !strings.Contains(string(log), "staying") || err != nil {
			t.Errorf("the keeper's log does not say that it stayed: %q, %v", log, err)
		}
		os.Remove(dir + "/keeper.log") // otherwise it is left, because there is something in it
	})
	fd, err := c.PidFD(t.Context(), "sleeper")
	if err != nil {
		t.Fatal(err)
	}
	defer fd.Close()
	if err := unix.PidfdSendSignal(int(fd.Fd()), unix.SIGTERM, nil, 0); err != nil {
		t.Fatal(err)
	}
	if e := wait(t, c, "sleeper"); e.Signal != int(unix.SIGTERM) {
		t.Errorf("sh %d: %+v: it did not have the default disposition", p.PID, e)
	}
}

func TestWaitEndsWithContext(t *testing.T) {
	c, _ := start(t)
	spawn(t, c, "sleeper", "sleep 1000", keeper.Output{})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := c.Wait(ctx, "sleeper"); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	if _, err := c.Wait(t.Context(), "nobody"); !errors.Is(err, keeper.ErrNotFound) {
		t.Error(err)
	}
}

func TestGrandchildDoesNotHoldUpTheExit(t *testing.T) {
	c, dir := start(t)
	text := `(read go <` + mkfifo(t, dir) + `; echo late) & echo $!; exit 3`
	spawn(t, c, "parent", text, keeper.Output{LogDir: dir + "/logs"})
	if e := wait(t, c, "parent"); e.Code != 3 {
		t.Errorf("%+v", e)
	}
	before := written(t, dir+"/logs", logs.Stdout)
	writeFifo(t, dir)
	for e, err := range logs.Read(t.Context(), dir+"/logs", logs.Options{Follow: true}) {
		if err != nil || string(e.Data) == "late\n" {
			break
		}
	}
	if got := written(t, dir+"/logs", logs.Stdout); got != before+"late\n" {
		t.Errorf("logs: %q", got)
	}
}

func mkfifo(t *testing.T, dir string) string {
	t.Helper()
	if err := unix.Mkfifo(dir+"/fifo", 0o600); err != nil {
		t.Fatal(err)
	}
	return dir + "/fifo"
}

func writeFifo(t *testing.T, dir string) {
	t.Helper()
	if err := os.WriteFile(dir+"/fifo", []byte("go\n"), 0); err != nil {
		t.Fatal(err)
	}
}

func TestKilledDaemonChangesNothing(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("a keeper runs as root")
	}
	dir := t.TempDir()
	mkfifo(t, dir)
	pid, address := killDaemon(t, dir)
	queued, err := net.Dial("tcp", address) // nobody but the keeper has the socket now
	if err != nil {
		t.Fatal(err)
	}
	defer queued.Close()
	writeFifo(t, dir) // the child goes on, with no daemon to hear it
	c := startIn(t, dir)
	children, err := c.Children(t.Context())
	if err != nil || len(children) != 1 || children[0].PID != pid || children[0].ID != "long" {
		t.Fatalf("children: %+v, %v; the daemon's was %d", children, err, pid)
	}
	if e := wait(t, c, "long"); e.Code != 7 {
		t.Errorf("%+v", e)
	}
	if got := strings.Count(written(t, dir+"/logs", logs.Stdout), "\n"); got != 20000 {
		t.Errorf("%d of 20000 lines are in the logs", got)
	}
	acceptQueued(t, c, queued)
}

// killDaemon lets a daemon start a child, and kills it.
func killDaemon(t *testing.T, dir string) (pid int, address string) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", "daemon", dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscan(line, &pid, &address); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	return pid, address
}

func acceptQueued(t *testing.T, c *keeper.Client, queued net.Conn) {
	t.Helper()
	l, err := c.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	got, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer got.Close()
	if got.RemoteAddr().String() != queued.LocalAddr().String() {
		t.Errorf("accepted %v, not %v", got.RemoteAddr(), queued.LocalAddr())
	}
}

func TestUnlistenClosesTheSocket(t *testing.T) {
	c, dir := start(t)
	for network, address := range map[string]string{"tcp": "127.0.0.1:0", "unix": dir + "/api.sock"} {
		l, err := c.Listen(t.Context(), network, address)
		if err != nil {
			t.Fatal(err)
		}
		at := l.Addr()
		l.Close()
		if conn, err := net.Dial(network, at.String()); err != nil {
			t.Errorf("%s is closed with the daemon's listener: %v", network, err)
		} else {
			conn.Close()
		}
		if err := c.Unlisten(t.Context(), network, address); err != nil {
			t.Error(err)
		}
		if conn, err := net.Dial(network, at.String()); err == nil {
			conn.Close()
			t.Errorf("%s listens after Unlisten", network)
		}
	}
	p, err := c.ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.Close()
	if names, err := c.AllKept(t.Context()); err != nil || len(names) != 1 || names[0] != "udp 127.0.0.1:0" {
		t.Errorf("kept: %q, %v", names, err)
	}
}

func TestTakenAddressIsAnError(t *testing.T) {
	c, _ := start(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := c.Listen(t.Context(), "tcp", l.Addr().String()); !errors.Is(err, syscall.EADDRINUSE) {
		t.Error(err)
	}
}

func TestOneKeeperAFolder(t *testing.T) {
	c, dir := start(t)
	found := make(chan int)
	for range 8 {
		go func() {
			other, err := connect(t.Context(), dir)
			if err != nil {
				t.Error(err)
				found <- 0
				return
			}
			found <- other.Info().PID
		}()
	}
	for range 8 {
		if pid := <-found; pid != c.Info().PID {
			t.Errorf("keeper %d beside %d", pid, c.Info().PID)
		}
	}
}

func TestConcurrentEnsuresStartOne(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("a keeper runs as root")
	}
	dir := t.TempDir() + "/" + strings.Repeat("deep", 40) // longer than a socket's path may be
	found := make(chan *keeper.Client)
	for range 4 {
		go func() {
			c, err := connect(t.Context(), dir)
			if err != nil {
				t.Error(err)
			}
			found <- c
		}()
	}
	pids := map[int]bool{}
	for range 4 {
		if c := <-found; c != nil {
			pids[c.Info().PID] = true
		}
	}
	if len(pids) != 1 {
		t.Errorf("keepers: %v", pids)
	}
	startIn(t, dir)
}

func TestExitsOutliveTheKeeper(t *testing.T) {
	c, dir := start(t)
	spawn(t, c, "ended/exec-1", "exit 5", keeper.Output{})
	p := spawn(t, c, "running", "sleep 1000", keeper.Output{})
	before := wait(t, c, "ended/exec-1")
	killKeeper(t, c)
	if _, err := c.Children(t.Context()); !errors.Is(err, keeper.ErrGone) {
		t.Errorf("without a keeper: %v", err)
	}
	next, err := connect(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	children, err := next.Children(t.Context())
	if err != nil || len(children) != 1 || children[0].ID != "ended/exec-1" {
		t.Fatalf("children: %+v, %v", children, err)
	}
	if after := wait(t, next, "ended/exec-1"); after.Code != 5 || !after.At.Equal(before.At) {
		t.Errorf("before %+v, after %+v", before, after)
	}
	if err := unix.PidfdSendSignal(int(p.FD.Fd()), unix.SIGKILL, nil, 0); err != nil {
		t.Error(err)
	}
}

func killKeeper(t *testing.T, c *keeper.Client) {
	t.Helper()
	pid := c.Info().PID
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1); err != nil {
		t.Fatal(err)
	}
}

// TestManyChildren starts 200 and reports what they cost the keeper.
func TestManyChildren(t *testing.T) {
	const many = 200
	c, dir := start(t)
	idle := memory(t, c.Info().PID)
	began := time.Now()
	for i := range many {
		out := keeper.Output{LogDir: fmt.Sprintf("%s/logs/%d", dir, i)}
		spawn(t, c, fmt.Sprintf("child-%d", i), "echo ready; exec sleep 1000", out)
	}
	took := time.Since(began)
	for i := range many {
		awaitLine(t, fmt.Sprintf("%s/logs/%d", dir, i))
	}
	t.Logf("keeper: idle %d KB, with %d children %d KB; %v a spawn", idle, many, memory(t, c.Info().PID), took/many)
	children, err := c.Children(t.Context())
	if err != nil || len(children) != many {
		t.Errorf("%d children, %v", len(children), err)
	}
}

func awaitLine(t *testing.T, dir string) {
	t.Helper()
	for e, err := range logs.Read(t.Context(), dir, logs.Options{Follow: true}) {
		if err != nil {
			t.Fatal(err)
		}
		if e.End() {
			return
		}
	}
}

// memory is a process's RSS in KB.
func memory(t *testing.T, pid int) (kb int) {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	if _, err := fmt.Sscan(rest, &kb); err != nil {
		t.Fatal(err)
	}
	return kb
}
