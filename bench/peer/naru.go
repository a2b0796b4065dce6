package peer

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"naru/api/client"
)

// Naru is a naru daemon of its own.
type Naru struct {
	*daemon
	API    *client.Client // without the start of a program for each request
	bin    string
	socket string
}

// StartNaru runs `naru server` of the program at bin. Nobody asks its router anything: any free port will do for it.
func StartNaru(ctx context.Context, bin, dir string) (*Naru, error) {
	bin, err := filepath.Abs(bin)
	if err != nil {
		return nil, err
	}
	http, err := freeAddress()
	if err != nil {
		return nil, err
	}
	run := filepath.Join(dir, "run")
	n := &Naru{bin: bin, socket: "unix://" + filepath.Join(run, "naru.sock")}
	cmd := exec.Command(bin, "server", "--data", filepath.Join(dir, "data"), "--run", run,
		"--http", http, "--subnet", "10.233.0.0/16")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if n.API, err = client.New(n.socket); err != nil {
		return nil, err
	}
	n.daemon, err = start(ctx, dir, cmd, func() error { return quiet(n.command("apps")) })
	if err != nil {
		return nil, err
	}
	return n, nil
}

// freeAddress is a loopback address that nobody listens on.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

func (n *Naru) command(args ...string) *exec.Cmd {
	cmd := exec.Command(n.bin, args...)
	cmd.Env = append(os.Environ(), "NARU_HOST="+n.socket)
	return cmd
}

// Import makes a local image of a root file system.
func (n *Naru) Import(tar, name string) error {
	return quiet(n.command("image", "import", tar, name))
}

// Run runs a container to its end, `naru container run --rm`, and checks what it printed.
func (n *Naru) Run(image, command, want string) error {
	return expect(n.command("container", "run", "--rm", image, command), want)
}

// Stop ends the daemon.
func (n *Naru) Stop() error { return n.stop() }
