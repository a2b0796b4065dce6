package peer

import (
	"context"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// Docker is a dockerd of its own.
type Docker struct {
	*daemon
	bin    string
	socket string
	path   []string // environment with Docker's programs in PATH
	parent string   // cgroup above its containers
	dir    string
	http   *http.Client
}

// StartDocker runs the dockerd that test/deps.sh unpacked below deps. It lives in its own network and mount namespace:
// its bridge, its iptables rules and its mounts are nobody else's, and end with it.
func StartDocker(ctx context.Context, deps, dir string) (*Docker, error) {
	dockerd, err := unpacked(deps, "dockerd")
	if err != nil {
		return nil, err
	}
	sbin, bin := filepath.Dir(dockerd), filepath.Join(deps, "docker", "usr", "bin")
	d := &Docker{
		bin: filepath.Join(bin, "docker"), socket: "unix://" + filepath.Join(dir, "docker.sock"),
		path:   append(os.Environ(), "PATH="+bin+":"+sbin+":"+os.Getenv("PATH")),
		parent: "/naru-bench-" + filepath.Base(dir), dir: dir,
	}
	cmd := exec.Command(dockerd, "--data-root", filepath.Join(dir, "docker"),
		"--exec-root", filepath.Join(dir, "exec"), "--pidfile", filepath.Join(dir, "docker.pid"),
		"--host", d.socket, "--cgroup-parent", d.parent)
	cmd.Env = d.path
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Cloneflags: syscall.CLONE_NEWNET, Unshareflags: syscall.CLONE_NEWNS}
	d.http = unixClient(filepath.Join(dir, "docker.sock"))
	d.daemon, err = start(ctx, dir, cmd, nil, func() error { return quiet(d.command("version")) })
	if err != nil {
		return nil, err
	}
	return d, nil
}

func (d *Docker) command(args ...string) *exec.Cmd {
	cmd := exec.Command(d.bin, append([]string{"--host", d.socket}, args...)...)
	cmd.Env = d.path
	return cmd
}

// Import makes a local image of a root file system.
func (d *Docker) Import(tar, name string) error {
	return quiet(d.command("import", tar, name))
}

// Run runs a container to its end, `docker run --rm`, and checks what it printed.
func (d *Docker) Run(image, command, want string) error {
	return expect(d.command("run", "--rm", image, command), want)
}

// Exec runs a command in a container, `docker exec`.
func (d *Docker) Exec(id string, command ...string) error {
	return quiet(d.command(append([]string{"exec", id}, command...)...))
}

// List lists what runs, `docker ps`, and returns how many lines that are.
func (d *Docker) List() (int, error) { return rows(d.command("ps")) }

// Stop removes what is left of containers, ends dockerd, and what a dockerd that had to be killed leaves.
func (d *Docker) Stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ids, err := d.ids(ctx, true)
	return errors.Join(err, removeAll(ctx, d, ids), d.stop(), d.endShims(), d.removeCgroups())
}

// Version is what dockerd calls itself.
func (d *Docker) Version() string {
	out, err := d.command("version", "--format", "{{.Server.Version}}").Output()
	if err != nil {
		return "unknown version"
	}
	return strings.TrimSpace(string(out))
}
