package keeper_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
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

func startIn(t testing.TB, dir string) *keeper.Client {
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
func stop(t testing.TB, c *keeper.Client, dir string) {
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

// isDead reads /proc/PID/stat: a zombie waits for its parent, and X is seen of one that is being reaped.
func isDead(stat string) bool {
	return strings.Contains(stat, ") Z ") || strings.Contains(stat, ") X ")
}

// checkLeft checks that the keeper left neither itself nor files of its own.
func checkLeft(t testing.TB, pid int, dir string) {
	t.Helper()
	if stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err == nil && !isDead(string(stat)) {
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

// eventually waits until check is true.
func eventually(t *testing.T, what string, check func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for limit := time.After(20 * time.Second); !check(); {
		select {
		case <-tick.C:
		case <-limit:
			t.Errorf("it never came to be that %s", what)
			return
		}
	}
}
