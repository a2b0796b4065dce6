package peer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"naru/api"
	"naru/api/client"
)

// Naru is a naru daemon of its own.
type Naru struct {
	*daemon
	API    *client.Client // without the start of a program for each request
	bin    string
	socket string
	dir    string
	in     *NetNS
	server []string // arguments
}

// StartNaru runs `naru server` of the program at bin, in the host's network or in the one that is given. Nobody asks its
// router anything: any free port will do for it.
func StartNaru(ctx context.Context, bin, dir string, in *NetNS) (*Naru, error) {
	bin, err := filepath.Abs(bin)
	if err != nil {
		return nil, err
	}
	http, err := freeAddress()
	if err != nil {
		return nil, err
	}
	run := filepath.Join(dir, "run")
	n := &Naru{bin: bin, socket: "unix://" + filepath.Join(run, "naru.sock"), dir: dir, in: in, server: []string{"server",
		"--data", filepath.Join(dir, "data"), "--run", run, "--http", http, "--subnet", "10.233.0.0/16"}}
	if n.API, err = client.New(n.socket); err != nil {
		return nil, err
	}
	return n, n.launch(ctx)
}

func (n *Naru) launch(ctx context.Context) (err error) {
	cmd := exec.Command(n.bin, n.server...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	n.daemon, err = start(ctx, n.dir, cmd, n.in, func() error { return quiet(n.command("apps")) })
	return err
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

// Exec runs a command in a container, `naru container exec`.
func (n *Naru) Exec(id string, command ...string) error {
	return quiet(n.command(append([]string{"container", "exec", id}, command...)...))
}

// List lists what runs, `naru container ls`, and returns how many lines that are.
func (n *Naru) List() (int, error) { return rows(n.command("container", "ls")) }

// Start starts a container by one request to the API, and returns its id when it runs.
func (n *Naru) Start(ctx context.Context, spec Spec) (string, error) {
	c, err := n.API.StartContainer(ctx, api.ContainerSpec{Image: spec.Image, Command: spec.Command, Ports: spec.ports()})
	return c.ID, err
}

// Remove removes a container by a request to the API, whether it runs or not.
func (n *Naru) Remove(ctx context.Context, id string) error {
	return n.API.RemoveContainer(ctx, id, true)
}

// Processes are the first processes of all containers that run.
func (n *Naru) Processes(ctx context.Context) ([]int, error) {
	all, err := n.API.Containers(ctx, false)
	pids := make([]int, len(all))
	for i, c := range all {
		pids[i] = c.PID
	}
	return pids, err
}

// Stop removes what is left of containers, and ends the daemon. The containers of one that has died are found and removed
// by another.
func (n *Naru) Stop() (err error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	select {
	case <-n.ended:
		err = fmt.Errorf("the naru daemon died: %v\n%s", n.cmd.ProcessState, n.logTail())
		if again := n.launch(ctx); again != nil {
			return errors.Join(err, again)
		}
	default:
	}
	all, bad := n.API.Containers(ctx, true)
	ids := make([]string, len(all))
	for i, c := range all {
		ids[i] = c.ID
	}
	return errors.Join(err, bad, removeAll(ctx, n, ids), n.stop())
}
