package peer

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
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
	d.daemon, err = start(ctx, dir, cmd, func() error { return quiet(d.command("version")) })
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

// Stop ends dockerd and removes the cgroups it made.
func (d *Docker) Stop() error {
	return errors.Join(d.stop(), d.removeCgroups())
}

func (d *Docker) removeCgroups() error {
	var found []string
	for _, pattern := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/*"} {
		groups, err := filepath.Glob(pattern + d.parent)
		if err != nil {
			return err
		}
		found = append(found, groups...)
	}
	var err error
	for _, group := range found {
		err = errors.Join(err, removeTree(group))
	}
	return err
}

// removeTree removes a cgroup and those below it, the deepest first: each is a folder that only rmdir removes.
func removeTree(root string) error {
	var groups []string
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			groups = append(groups, path)
		}
		return err
	})
	for _, group := range slices.Backward(groups) {
		err = errors.Join(err, os.Remove(group))
	}
	return err
}

// Version is what dockerd calls itself.
func (d *Docker) Version() string {
	out, err := d.command("version", "--format", "{{.Server.Version}}").Output()
	if err != nil {
		return "unknown version"
	}
	return strings.TrimSpace(string(out))
}
