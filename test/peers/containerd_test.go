package peers

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"naru/internal/testkit"
)

// containerd is led by ctr, with naru's runtime as the BinaryName of its runc shim.
type containerd struct {
	*service
	rootfs, runtime string
}

const containerdConfig = `version = 2
root = "DIR/root"
state = "DIR/state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = "DIR/sock"
[ttrpc]
address = "DIR/sock.ttrpc"
`

func startContainerd(t testing.TB) containerd {
	t.Helper()
	testkit.RequireRoot(t)
	bin, runtime := testkit.Debian(t, "docker/usr/bin"), runtime(t)
	s := newService(t, "ctr")
	namespace := filepath.Base(s.parent) // containerd makes it the cgroup too
	s.command = func(args ...string) *exec.Cmd {
		return exec.Command(filepath.Join(bin, "ctr"), append([]string{"-a", s.socket(), "-n", namespace}, args...)...)
	}
	config := filepath.Join(s.dir, "config.toml")
	must(t, os.WriteFile(config, []byte(strings.ReplaceAll(containerdConfig, "DIR", s.dir)), 0o600))
	daemon := exec.Command(filepath.Join(bin, "containerd"), "-c", config)
	daemon.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH")) // its shim is there
	s.start(daemon, syscall.SysProcAttr{})
	return containerd{s, makeRootfs(t, s.dir), runtime}
}

// run is the words of ctr run; options stand before the rootfs, then a name and a command.
func (c containerd) run(options string, args ...string) []string {
	words := append([]string{"run", "--runc-binary", c.runtime}, strings.Fields(options)...)
	return append(append(words, "--rootfs", c.rootfs), args...)
}

// onTerminal runs ctr on a terminal, which it wants for a container's.
func (c containerd) onTerminal(args ...string) string {
	c.t.Helper()
	cmd := c.command(args...)
	out, err := exec.Command("script", "-qec", strings.Join(cmd.Args, " "), "/dev/null").CombinedOutput()
	if err != nil {
		c.t.Errorf("%s: %v: %s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// ctr makes no network: nothing is published here.
func TestContainerdRunsContainersWithNaru(t *testing.T) {
	c := startContainerd(t)
	c.want("hello", 0, c.run("--rm", "a", "echo", "hello")...)
	c.want("", 42, c.run("--rm", "b", "sh", "-c", "exit 42")...)
	c.want("executable file not found in $PATH", 1, c.run("--rm", "c", "nosuch")...)
	c.want("", 137, c.run("--rm --memory-limit 20000000", "d", "sh", "-c", "head -c 100m /dev/zero | tail")...)
	c.want("Read-only file system", 1, c.run("--rm --read-only", "e", "touch", "/x")...)
	if out := c.onTerminal(c.run("--rm -t", "g", "tty")...); !strings.Contains(out, "/dev/pts/0") {
		t.Errorf("a terminal: %q", out)
	}
	c.live(t)
}

// live leads one container through every verb.
func (c containerd) live(t *testing.T) {
	log := filepath.Join(c.dir, "web.log")
	c.want("", 0, c.run("-d --memory-limit 64000000 --cpus 0.5 --log-uri file://"+log, "web", "sh", "-c", "echo started; exec sleep 1000")...)
	defer func() {
		c.want("", 0, "task", "rm", "-f", "web")
		c.want("", 0, "container", "rm", "web")
	}()
	testkit.Eventually(t, 10*time.Second, "its first word", func() error {
		if out, err := os.ReadFile(log); err != nil || string(out) != "started\n" {
			return fmt.Errorf("logged %q, %w", out, err)
		}
		return nil
	})
	c.want("sleep 1000", 5, "task", "exec", "--exec-id", "x", "web", "sh", "-c", "ps; exit 5")
	c.want("memory.usage_in_bytes", 0, "task", "metrics", "web")
	c.want("", 0, "task", "pause", "web")
	c.want("PAUSED", 0, "task", "ls")
	c.want("", 0, "task", "resume", "web")
	c.want("RUNNING", 0, "task", "ls")
	c.want("", 0, "task", "kill", "-s", "KILL", "web")
	testkit.Eventually(t, 10*time.Second, "its end", func() error {
		if out, _, err := c.try("task", "ls"); err != nil || !strings.Contains(out, "STOPPED") {
			return fmt.Errorf("%q, %w", out, err)
		}
		return nil
	})
}
