package keeper_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"naru/engine/keeper"
	"naru/engine/logs"
	"naru/engine/sandbox/fork"
)

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
	p := spawn(t, c, "sleeper", "exec sleep 1000", keeper.Output{})
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
	eventually(t, "the keeper's log says thrice that it stays", func() bool {
		log, err := os.ReadFile(dir + "/keeper.log")
		return err == nil && strings.Count(string(log), "staying") == 3
	})
	os.Remove(dir + "/keeper.log") // otherwise it is left, because there is something in it
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
	spawn(t, c, "sleeper", "exec sleep 1000", keeper.Output{})
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
func memory(t testing.TB, pid int) (kb int) {
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

// BenchmarkSpawn starts a process that ends at once, hears of its exit and forgets it.
func BenchmarkSpawn(b *testing.B) {
	c := startIn(b, b.TempDir())
	exe, err := os.Open("/bin/true")
	if err != nil {
		b.Fatal(err)
	}
	defer exe.Close()
	for n := 0; b.Loop(); n++ {
		id := fmt.Sprint("true-", n)
		p, err := c.Spawn(b.Context(), id, fork.Cmd{Exe: exe, Args: []string{"true"}}, keeper.Output{})
		if err != nil {
			b.Fatal(err)
		}
		p.FD.Close()
		_, err = c.Wait(b.Context(), id)
		if err := errors.Join(err, c.Forget(b.Context(), id)); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkChildOfThisProcess is what BenchmarkSpawn costs without a keeper.
func BenchmarkChildOfThisProcess(b *testing.B) {
	for b.Loop() {
		if err := exec.Command("/bin/true").Run(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCall is one request and its answer.
func BenchmarkCall(b *testing.B) {
	c := startIn(b, b.TempDir())
	b.ReportAllocs()
	for b.Loop() {
		if err := c.Forget(b.Context(), "nobody"); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkPump carries a process's output, lines of 100 bytes, from its pipe into its logs.
func BenchmarkPump(b *testing.B) {
	const lines = 100_000
	dir := b.TempDir()
	c := startIn(b, dir)
	b.SetBytes(lines * 100)
	line := strings.Repeat("l", 99)
	for n := 0; b.Loop(); n++ {
		id := fmt.Sprint("talk-", n)
		cmd := script(nil, "yes "+line+" | head -n "+fmt.Sprint(lines))
		p, err := c.Spawn(b.Context(), id, cmd, keeper.Output{LogDir: dir + "/logs"})
		if err != nil {
			b.Fatal(err)
		}
		p.FD.Close()
		cmd.Exe.Close()
		if _, err := c.Wait(b.Context(), id); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(memory(b, c.Info().PID)), "KB-RSS")
}

// TestATerminalIsReadIntoTheLogs: also what was printed before the keeper has it, what a child without an open descriptor of
// it prints later, and what a child leaves that has exited.
func TestATerminalIsReadIntoTheLogs(t *testing.T) {
	c, dir := start(t)
	for id, text := range map[string]string{
		"runs":   `echo early; read line; echo got $line; exec >/dev/null 2>&1 <&1; read go <` + mkfifo(t, dir) + `; echo late >` + "$TTY",
		"exited": `seq 2000`,
	} {
		master, slave := openPTY(t)
		cmd := script(t, text)
		cmd.Env = append(cmd.Env, "TTY="+slave.Name())
		cmd.Files = []*os.File{slave, slave, slave}
		p, err := c.Spawn(t.Context(), id, cmd, keeper.Output{LogDir: dir + "/" + id})
		if err != nil {
			t.Fatal(err)
		}
		p.FD.Close()
		slave.Close()
		if id == "exited" {
			wait(t, c, id)
		}
		if err := c.SetTerminal(t.Context(), id, master); err != nil {
			t.Fatal(err)
		}
		master.Close()
	}
	if got := written(t, dir+"/exited", logs.Stdout); strings.Count(got, "\r\n") == 0 || !strings.HasSuffix(got, "2000\r\n") {
		t.Errorf("of the exited there is %q", got)
	}
	if _, err := c.Terminal(t.Context(), "exited"); !errors.Is(err, keeper.ErrNotFound) {
		t.Errorf("the terminal of the exited: %v", err)
	}
	tty, err := c.Terminal(t.Context(), "runs")
	if err != nil {
		t.Fatal(err)
	}
	defer tty.Close()
	if err := c.SetTerminal(t.Context(), "runs", tty); !errors.Is(err, keeper.ErrExists) {
		t.Errorf("a second terminal: %v", err)
	}
	if _, err := tty.WriteString("typed\n"); err != nil {
		t.Fatal(err)
	}
	writeFifo(t, dir) // it has closed the terminal by then
	wait(t, c, "runs")
	echoed := "early\r\ntyped\r\n" // by the terminal, which does not wait for the program
	got := strings.Replace(written(t, dir+"/runs", logs.Stdout), "typed\r\nearly\r\n", echoed, 1)
	if got != echoed+"got typed\r\nlate\r\n" {
		t.Errorf("it said %q", got)
	}
}

// openPTY makes a terminal.
func openPTY(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return master, slave
}
