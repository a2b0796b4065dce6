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

// docker is a dockerd of the test's own.
type docker struct{ *service }

// startDocker runs dockerd in a network of its own too. Its containers are run by naru, or by runc.
func startDocker(t testing.TB, by string) docker {
	t.Helper()
	testkit.RequireRoot(t)
	bin, sbin, runtime := testkit.Debian(t, "docker/usr/bin"), testkit.Debian(t, "docker/usr/sbin"), runtime(t)
	d := docker{newService(t, "docker")}
	env := append(os.Environ(), "PATH="+bin+":"+sbin+":"+os.Getenv("PATH"), "DOCKER_HOST=unix://"+d.socket())
	d.command = func(args ...string) *exec.Cmd {
		cmd := exec.Command(filepath.Join(bin, "docker"), args...)
		cmd.Env = env
		return cmd
	}
	dockerd := exec.Command(filepath.Join(sbin, "dockerd"), "--data-root", filepath.Join(d.dir, "data"),
		"--exec-root", filepath.Join(d.dir, "exec"), "--pidfile", filepath.Join(d.dir, "pid"),
		"--host", "unix://"+d.socket(), "--cgroup-parent", d.parent, "--add-runtime", "naru="+runtime, "--default-runtime", by)
	dockerd.Env = env
	d.start(dockerd, syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET})
	d.load()
	return d
}

func (d docker) load() {
	d.t.Helper()
	cmd := d.command("import", "-", "busybox")
	cmd.Stdin = bytes.NewReader(testkit.BusyboxRootfs(d.t))
	if out, err := cmd.CombinedOutput(); err != nil {
		d.t.Fatalf("import: %v: %s", err, out)
	}
}

func TestDockerRunsContainersWithNaru(t *testing.T) {
	d := startDocker(t, "naru")
	t.Run("run", func(t *testing.T) {
		d.want("hello", 0, "run", "--rm", "busybox", "echo", "hello")
		d.want("", 42, "run", "--rm", "busybox", "sh", "-c", "exit 42")
		d.want("executable file not found in $PATH", 127, "run", "--rm", "busybox", "nosuch")
		d.want("permission denied", 126, "run", "--rm", "busybox", "/etc")
		d.want("/dev/pts/0", 0, "run", "--rm", "-t", "busybox", "tty")
		d.want("Killed", 137, "run", "--rm", "-m", "20m", "busybox", "sh", "-c", "head -c 100m /dev/zero | tail")
	})
	t.Run("options", func(t *testing.T) {
		d.want("/nope/x", 0, "run", "--rm", "-w", "/nope/x", "busybox", "pwd")
		d.want("Read-only file system", 1, "run", "--rm", "--read-only", "--tmpfs", "/t", "busybox", "sh", "-c", "touch /t/a && touch /x")
		d.want("kept", 0, "run", "--rm", "-v", "vol:/v", "busybox", "sh", "-c", "echo kept > /v/a; cat /v/a")
		d.want("100\nuid=5", 0, "run", "--rm", "--ulimit", "nofile=100:200", "--user", "5", "busybox", "sh", "-c", "ulimit -n; id")
		d.want("0000000000000000", 0, "run", "--rm", "--cap-drop", "ALL", "busybox", "grep", "CapBnd", "/proc/self/status")
		d.want("99", 0, "run", "--rm", "--sysctl", "net.core.somaxconn=99", "busybox", "cat", "/proc/sys/net/core/somaxconn")
		d.want("1,   7", 0, "run", "--rm", "--device", "/dev/full:/dev/mine", "busybox", "ls", "-l", "/dev/mine")
		d.want("", 0, "run", "--rm", "--privileged", "busybox", "ls", "/dev")
	})
	t.Run("a container's life", func(t *testing.T) { d.live(t) })
}

// live leads one container through every verb.
func (d docker) live(t *testing.T) {
	script := "echo started; mkdir /www; echo page > /www/index.html; exec httpd -f -p 80 -h /www"
	d.want("", 0, "run", "-d", "--name", "web", "--ipc", "shareable", "-p", "8081:80", "-m", "64m", "--cpus", "0.5", "busybox", "sh", "-c", script)
	defer d.want("web", 0, "rm", "-f", "web")
	testkit.Eventually(t, 10*time.Second, "its first word", func() error {
		if out, _, err := d.try("logs", "web"); err != nil || out != "started" {
			return fmt.Errorf("logs: %q, %w", out, err)
		}
		return nil
	})
	d.want("httpd", 5, "exec", "web", "sh", "-c", "ps; exit 5")
	d.want("/dev/pts/0", 0, "exec", "-t", "web", "tty")
	d.want("uid=1000 gid=1000\n/tmp\n1", 0, "exec", "-u", "1000:1000", "-w", "/tmp", "-e", "X=1", "web", "sh", "-c", "id | cut -d' ' -f1,2; pwd; echo $X")
	d.want("executable file not found", 126, "exec", "web", "nosuch")
	d.want("64MiB", 0, "stats", "--no-stream", "web")
	d.want("httpd", 0, "top", "web")
	d.want("page", 0, "run", "--rm", "--network", "container:web", "--pid", "container:web", "--ipc", "container:web", "busybox", "wget", "-qO-", "127.0.0.1:80")
	d.wantPage(t)
	d.want("web", 0, "pause", "web")
	d.want("(Paused)", 0, "ps")
	d.want("web", 0, "unpause", "web")
	d.want("web", 0, "update", "-m", "32m", "--memory-swap", "32m", "web")
	d.want("32MiB", 0, "stats", "--no-stream", "web")
	d.want("web", 0, "stop", "-t", "1", "web")
	d.want("web", 0, "start", "web")
	d.want("web", 0, "kill", "web")
	d.want("137", 0, "inspect", "-f", "{{.State.ExitCode}}", "web")
}

// wantPage asks the published port from within dockerd's network, whose loopback nobody has put up yet.
func (d docker) wantPage(t *testing.T) {
	t.Helper()
	d.within("ip", "link", "set", "lo", "up")
	if out := d.within("curl", "-sS", "127.0.0.1:8081"); out != "page\n" {
		t.Errorf("the published port said %q", out)
	}
}

// within runs a program in dockerd's network.
func (d docker) within(args ...string) string {
	d.t.Helper()
	enter := []string{"-t", fmt.Sprint(d.daemon.Process.Pid), "-n"}
	out, err := exec.Command("nsenter", append(enter, args...)...).CombinedOutput()
	if err != nil {
		d.t.Errorf("%s: %v: %s", strings.Join(args, " "), err, out)
	}
	return string(out)
}
