package keeper_test

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"naru/engine/keeper"
	"naru/engine/logs"
)

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
	p := spawn(t, c, "running", "exec sleep 1000", keeper.Output{})
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
