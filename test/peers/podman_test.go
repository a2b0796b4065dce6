package peers

import (
	"bytes"
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

// podman has no daemon: a process of ours keeps the network and mount namespaces that its commands run in, so that what
// they make there ends with it.
type podman struct {
	peer
	dir    string
	holder *exec.Cmd
}

// What the machine may not raise is set lower, and everything that would be the machine's is in a folder of the test's.
const podmanConfig = `[containers]
default_ulimits = ["nofile=512:512", "nproc=4096:4096"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
conmon_path = ["UNPACKED/usr/bin/conmon"]
conmon_env_vars = ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LD_LIBRARY_PATH=LIBRARIES"]
helper_binaries_dir = ["UNPACKED/usr/lib/podman"]
runtime = "naru"
tmp_dir = "DIR/tmp"
[engine.runtimes]
naru = ["RUNTIME"]
[network]
network_backend = "netavark"
network_config_dir = "DIR/net"
`

func startPodman(t testing.TB) *podman {
	t.Helper()
	testkit.RequireRoot(t)
	files := filepath.Dir(filepath.Dir(testkit.Debian(t, "podman/usr/bin")))
	libraries, _ := filepath.Glob(filepath.Join(files, "usr/lib/*-linux-gnu"))
	dir, err := os.MkdirTemp("", "npod")
	must(t, err)
	must(t, os.MkdirAll(filepath.Join(dir, ".config/containers"), 0o755))
	must(t, os.WriteFile(filepath.Join(dir, ".config/containers/policy.json"), []byte(`{"default":[{"type":"insecureAcceptAnything"}]}`), 0o644))
	config := strings.NewReplacer("UNPACKED", files, "LIBRARIES", strings.Join(libraries, ":"), "DIR", dir, "RUNTIME", runtime(t)).Replace(podmanConfig)
	must(t, os.WriteFile(filepath.Join(dir, "containers.conf"), []byte(config), 0o644))
	p := &podman{dir: dir, holder: exec.Command("sleep", "infinity")}
	p.peer = peer{t, "podman", func(args ...string) *exec.Cmd {
		cmd := p.within("-m", append([]string{filepath.Join(files, "usr/bin/podman"), "--root", dir + "/root", "--runroot", dir + "/run", "--storage-driver", "vfs"}, args...)...)
		cmd.Env = append(os.Environ(), "HOME="+dir, "CONTAINERS_CONF="+dir+"/containers.conf", "LD_LIBRARY_PATH="+strings.Join(libraries, ":"))
		return cmd
	}}
	p.holder.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Unshareflags: syscall.CLONE_NEWNS}
	must(t, p.holder.Start())
	t.Cleanup(p.stop)
	if out, err := p.within("", "ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		t.Fatalf("put the loopback up: %v: %s", err, out)
	}
	load := p.command("import", "-", "localhost/busybox")
	load.Stdin = bytes.NewReader(testkit.BusyboxRootfs(t))
	if out, err := load.CombinedOutput(); err != nil {
		t.Fatalf("import: %v: %s", err, out)
	}
	return p
}

// within makes a command in the holder's network, and with -m among its mounts.
func (p *podman) within(mounts string, args ...string) *exec.Cmd {
	enter := []string{"-t", fmt.Sprint(p.holder.Process.Pid), "-n"}
	if mounts != "" {
		enter = append(enter, mounts)
	}
	return exec.Command("nsenter", append(enter, args...)...)
}

func (p *podman) stop() {
	p.want("", 0, "rm", "-f", "-a", "-t", "0")
	if err := p.holder.Process.Kill(); err != nil {
		p.t.Error(err)
	}
	_ = p.holder.Wait() // by a signal
	if err := os.RemoveAll(p.dir); err != nil {
		p.t.Error(err)
	}
}

func TestPodmanRunsContainersWithNaru(t *testing.T) {
	p := startPodman(t)
	p.want("hello", 0, "run", "--rm", "busybox", "echo", "hello")
	p.want("", 42, "run", "--rm", "busybox", "sh", "-c", "exit 42")
	p.want("executable file not found in $PATH", 127, "run", "--rm", "busybox", "nosuch")
	p.want("/dev/pts/0", 0, "run", "--rm", "-t", "busybox", "tty")
	p.want("", 137, "run", "--rm", "-m", "20m", "busybox", "sh", "-c", "head -c 100m /dev/zero | tail")
	p.want("0 300000 1000", 0, "run", "--rm", "--uidmap", "0:300000:1000", "busybox", "sh", "-c", "echo $(cat /proc/self/uid_map)")
	p.want("0000000000000000", 0, "run", "--rm", "--cap-drop", "ALL", "busybox", "grep", "CapBnd", "/proc/self/status")
	p.live(t)
}

// live leads one container through every verb.
func (p *podman) live(t *testing.T) {
	script := "echo started; mkdir /www; echo page > /www/index.html; exec httpd -f -p 80 -h /www"
	p.want("", 0, "run", "-d", "--name", "web", "-p", "8082:80", "-m", "64m", "busybox", "sh", "-c", script)
	testkit.Eventually(t, 10*time.Second, "its first word", func() error {
		if out, _, err := p.try("logs", "web"); err != nil || out != "started" {
			return fmt.Errorf("logs: %q, %w", out, err)
		}
		return nil
	})
	testkit.Eventually(t, 10*time.Second, "the published port", func() error {
		if out, err := p.within("", "curl", "-sS", "127.0.0.1:8082").CombinedOutput(); err != nil || string(out) != "page\n" {
			return fmt.Errorf("%q, %w", out, err)
		}
		return nil
	})
	p.want("httpd", 5, "exec", "web", "sh", "-c", "ps; exit 5")
	p.want("/dev/pts/0", 0, "exec", "-t", "web", "tty")
	p.want("67.11MB", 0, "stats", "--no-stream", "web")
	p.want("page", 0, "run", "--rm", "--network", "container:web", "busybox", "wget", "-qO-", "127.0.0.1:80")
	p.want("web", 0, "pause", "web")
	p.want("Paused", 0, "ps", "-a", "--format", "{{.Names}} {{.State}}")
	p.want("web", 0, "unpause", "web")
	p.want("web", 0, "kill", "web")
	testkit.Eventually(t, 10*time.Second, "its end", func() error {
		if out, _, err := p.try("inspect", "-f", "{{.State.ExitCode}}", "web"); err != nil || out != "137" {
			return fmt.Errorf("%q, %w", out, err)
		}
		return nil
	})
	p.want("web", 0, "start", "web")
	p.want("web", 0, "stop", "-t", "1", "web")
}
