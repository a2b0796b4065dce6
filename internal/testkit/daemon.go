package testkit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// startTimeout bounds how long a daemon may take until it answers; emulated machines are slow.
const startTimeout = 60 * time.Second

// Daemon is a `naru server` of one test: its folders, subnet and router address are no other daemon's. It ends with the
// test, which fails when something of it is left in the kernel.
type Daemon struct {
	Data, Run string
	HTTP      string // address of the router, 127.0.0.1:port
	Subnet    netip.Prefix

	t     testing.TB
	naru  string
	log   *os.File
	cmd   *exec.Cmd     // of the running daemon
	ended chan struct{} // closed when cmd has ended
}

// StartDaemon starts a daemon of the test's own and waits until it answers. Extra flags go to `naru server` as they are.
func StartDaemon(t testing.TB, flags ...string) *Daemon {
	t.Helper()
	d := NewDaemon(t)
	d.Start(flags...)
	return d
}

// NewDaemon makes what a daemon needs and does not start it. Its folders are not of t.TempDir: a unix socket's path has
// room for 107 bytes.
func NewDaemon(t testing.TB) *Daemon {
	t.Helper()
	RequireRoot(t)
	naru := Binary(t)
	dir, err := os.MkdirTemp("", "nk")
	if err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	d := &Daemon{
		Data: filepath.Join(dir, "data"), Run: filepath.Join(dir, "run"),
		HTTP: freeAddress(t), Subnet: freeSubnet(t), t: t, naru: naru, log: log,
	}
	t.Cleanup(d.finish)
	return d
}

// Start runs the daemon again after Stop or Kill9, and waits until it answers.
func (d *Daemon) Start(flags ...string) {
	d.t.Helper()
	d.Launch(flags...)
	Eventually(d.t, startTimeout, "the daemon answers", d.ready)
}

// Launch is Start that does not wait.
func (d *Daemon) Launch(flags ...string) {
	d.t.Helper()
	args := append([]string{"server", "--data", d.Data, "--run", d.Run, "--http", d.HTTP, "--subnet", d.Subnet.String()}, flags...)
	d.cmd = exec.Command(d.naru, args...)
	d.cmd.Stdout, d.cmd.Stderr = d.log, d.log
	d.cmd.Env = d.Environment()
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a Ctrl-C of the test is not the daemon's
	if err := d.cmd.Start(); err != nil {
		d.t.Fatalf("start the daemon: %v", err)
	}
	ended, cmd := make(chan struct{}), d.cmd
	d.ended = ended
	go func() {
		defer close(ended)
		_ = cmd.Wait() // how it ended is asked of cmd.ProcessState
	}()
}

// Program makes the next Start run another program, as an upgrade does.
func (d *Daemon) Program(path string) { d.naru = path }

func (d *Daemon) ready() error {
	select {
	case <-d.ended:
		d.t.Fatalf("the daemon ended at its start: %v", d.cmd.ProcessState)
	default:
	}
	if r := d.Naru("apps"); r.Code != 0 {
		return fmt.Errorf("naru apps: %s", r.Stderr)
	}
	return nil
}

// marker is in the environment of the daemon, and so in that of what it starts on the host.
func (d *Daemon) marker() string { return "NARU_TESTKIT=" + d.Run }

// Environment is what a program that starts the daemon for the test has to hand on to it.
func (d *Daemon) Environment() []string { return append(os.Environ(), d.marker()) }

// PID is the daemon's process.
func (d *Daemon) PID() int { return d.cmd.Process.Pid }

// Kill9 ends the daemon as a crash would.
func (d *Daemon) Kill9() {
	d.t.Helper()
	d.signal(syscall.SIGKILL)
}

// Stop ends the daemon in good order; it fails the test when the daemon does not exit with status 0.
func (d *Daemon) Stop() {
	d.t.Helper()
	d.signal(syscall.SIGTERM)
	if code := d.cmd.ProcessState.ExitCode(); code != 0 {
		d.t.Errorf("the daemon exited on SIGTERM with %v, want status 0", d.cmd.ProcessState)
	}
}

func (d *Daemon) signal(s syscall.Signal) {
	d.t.Helper()
	if err := d.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		d.t.Fatalf("signal the daemon: %v", err)
	}
	select {
	case <-d.ended:
	case <-time.After(30 * time.Second):
		_ = d.cmd.Process.Kill()
		d.t.Fatalf("the daemon did not end within 30 s of %v", s)
	}
}

// running reports whether the daemon's process lives.
func (d *Daemon) running() bool {
	if d.cmd == nil || d.cmd.Process == nil {
		return false
	}
	select {
	case <-d.ended:
		return false
	default:
		return true
	}
}

// finish takes down what the test left up, stops the daemon, and fails the test when something stays in the kernel. A
// test that failed already only has its remains removed.
func (d *Daemon) finish() {
	if d.running() {
		d.downAll()
		d.Stop()
	}
	if d.t.Failed() {
		d.t.Logf("the daemon's log:\n%s", d.LogTail(80))
	} else if left := d.waitUntilGone(); len(left) > 0 {
		d.t.Errorf("left behind after the daemon stopped:\n  %s", strings.Join(left, "\n  "))
	}
	if err := d.sweep(); err != nil {
		d.t.Errorf("remove what was left: %v", err)
	}
	_ = d.log.Close()
	if err := os.RemoveAll(filepath.Dir(d.Run)); err != nil {
		d.t.Errorf("remove the daemon's folders: %v", err)
	}
}

func (d *Daemon) downAll() {
	for _, app := range d.Apps() {
		d.Naru("down", "--volumes", "-a", string(app.App), "-e", string(app.Environment))
	}
	for _, c := range d.Containers() {
		d.Naru("container", "rm", "--force", c.ID)
	}
}

// LogTail is the last lines of what the daemon logged.
func (d *Daemon) LogTail(lines int) string {
	data, err := os.ReadFile(d.log.Name())
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimRight(string(data), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// Result is what one call of the command line gave back.
type Result struct {
	Args           []string
	Stdout, Stderr string
	Code           int
	Took           time.Duration
}

func (r Result) String() string {
	return fmt.Sprintf("naru %s: exit status %d in %v\n%s%s", strings.Join(r.Args, " "), r.Code, r.Took.Round(time.Millisecond), r.Stdout, r.Stderr)
}

// callTimeout bounds one call of the command line.
const callTimeout = 5 * time.Minute

// Naru runs the command line against the daemon.
func (d *Daemon) Naru(args ...string) Result {
	d.t.Helper()
	return d.NaruIn("", nil, args...)
}

// NaruIn is Naru in a folder, with standard input.
func (d *Daemon) NaruIn(dir string, stdin []byte, args ...string) Result {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	var stdout, stderr bytes.Buffer
	cmd := d.Command(ctx, args...)
	cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = dir, bytes.NewReader(stdin), &stdout, &stderr
	start := time.Now()
	err := cmd.Run()
	r := Result{Args: args, Stdout: stdout.String(), Stderr: stderr.String(), Code: cmd.ProcessState.ExitCode(), Took: time.Since(start)}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		d.t.Fatalf("run naru %s: %v", strings.Join(args, " "), err)
	}
	return r
}

// Command is a call of the command line for the test to run as it likes.
func (d *Daemon) Command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, d.naru, args...)
	cmd.Env = append(os.Environ(), "NARU_HOST="+d.Socket())
	return cmd
}

// Socket is what NARU_HOST has to say to reach the daemon.
func (d *Daemon) Socket() string { return "unix://" + filepath.Join(d.Run, "naru.sock") }

// OK is Naru that fails the test unless the call succeeds. It returns what was printed.
func (d *Daemon) OK(args ...string) string {
	d.t.Helper()
	r := d.Naru(args...)
	if r.Code != 0 {
		d.t.Fatal(r)
	}
	return r.Stdout
}

// freeAddress is a loopback address that nobody listens on.
func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// FreePort is a port on which nobody listens at any address.
func FreePort(t testing.TB) uint16 {
	t.Helper()
	l, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		t.Fatal(err)
	}
	return uint16(n)
}

// freeSubnet is a /16 that no interface of this machine has an address in. Where to begin depends on the process, so
// that daemons of tests in two processes seldom meet.
func freeSubnet(t testing.TB) netip.Prefix {
	t.Helper()
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for i := range 128 {
		second := byte(100 + (os.Getpid()+i)%128)
		subnet := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, second, 0, 0}), 16)
		if !overlapsAny(subnet, addrs) {
			return subnet
		}
	}
	t.Fatal("every /16 from 10.100.0.0 to 10.227.0.0 is taken")
	return netip.Prefix{}
}

func overlapsAny(subnet netip.Prefix, addrs []net.Addr) bool {
	for _, addr := range addrs {
		p, err := netip.ParsePrefix(addr.String())
		if err == nil && p.Overlaps(subnet) {
			return true
		}
	}
	return false
}
