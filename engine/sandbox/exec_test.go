package sandbox_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"naru/engine/sandbox"
)

// idle starts a container that lives until the test ends.
func (l *lab) idle(change func(*sandbox.Config)) *running {
	l.Helper()
	cfg := l.sh("echo up; sleep 1000")
	change(&cfg)
	box := l.start(cfg)
	io.ReadFull(box.out, make([]byte, 3))
	return box
}

func (r *running) exec(args ...string) (string, sandbox.Exit, error) {
	process := *r.cfg.Spec.Process
	process.Args = args
	read, write, err := os.Pipe()
	r.lab.must(err)
	defer read.Close()
	box, err := sandbox.Exec(r.lab.ctx, sandbox.ExecConfig{
		ID: r.cfg.ID + "/exec", PID: r.PID, PidFD: r.PidFD, Process: &process, Linux: r.cfg.Spec.Linux, CgroupPath: r.cfg.CgroupPath,
		Files: [3]*os.File{nil, write, write},
	}, r.lab.local)
	write.Close()
	if err != nil {
		return "", sandbox.Exit{}, err
	}
	defer box.Close()
	out, err := io.ReadAll(read)
	r.lab.must(err)
	exit, err := r.lab.local.Wait(r.lab.ctx, box)
	r.lab.must(err)
	return string(out), exit, nil
}

func TestExecIsInTheSameContainer(t *testing.T) {
	for name, change := range map[string]func(*sandbox.Config){
		"user namespace": func(*sandbox.Config) {},
		"no user namespace": func(c *sandbox.Config) {
			linux := c.Spec.Linux
			linux.UIDMappings, linux.GIDMappings = nil, nil
			linux.Namespaces = linux.Namespaces[:len(linux.Namespaces)-1]
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			box := l.idle(change)
			const look = "for n in mnt pid net ipc uts user cgroup; do readlink /proc/$1/ns/$n; done; cat /proc/$1/cgroup; grep -E '^(Cap|Seccomp:|NoNew|Uid|Gid)' /proc/$1/status; grep [0-9] /proc/$1/limits"
			mine, exit, err := box.exec("sh", "-c", look, "sh", "self")
			if err != nil || exit.Code != 0 {
				t.Fatal(err, exit, mine)
			}
			theirs, _, err := box.exec("sh", "-c", look, "sh", "1")
			l.must(err)
			if mine != theirs {
				t.Errorf("exec'd process:\n%s\nprocess 1:\n%s", mine, theirs)
			}
			if ps, _, _ := box.exec("ps"); !strings.Contains(ps, "sleep 1000") || strings.Contains(ps, "naru") {
				t.Errorf("sees %s", ps)
			}
		})
	}
}

func TestAContainerInAnothersNetwork(t *testing.T) {
	l := newLab(t)
	box := l.idle(func(*sandbox.Config) {})
	cfg := l.sh("readlink /proc/self/ns/net; ls -d /sys/kernel; readlink /proc/self/ns/cgroup")
	for i, ns := range cfg.Spec.Linux.Namespaces {
		if ns.Type == specs.NetworkNamespace {
			cfg.Spec.Linux.Namespaces[i].Path = fmt.Sprintf("/proc/%d/ns/net", box.PID)
		}
	}
	cfg.Spec.Linux.Sysctl = nil // the other's network has its own
	theirs, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", box.PID))
	l.must(err)
	if out := l.run(cfg); !strings.HasPrefix(out, theirs+"\n/sys/kernel\n") {
		t.Errorf("got %s, want %s", out, theirs)
	}
}

func TestOnTheHostsNetwork(t *testing.T) {
	l := newLab(t)
	mine, err := os.Readlink("/proc/self/ns/net")
	l.must(err)
	cfg := l.configFor(sandbox.Defaults{Args: []string{"sh", "-c", "readlink /proc/self/ns/net; touch /sys/x"}, HostNetwork: true, UIDMap: ids(), GIDMap: ids()})
	out, _ := l.start(cfg).wait()
	if !strings.HasPrefix(out, mine+"\n") || !strings.Contains(out, "Read-only") {
		t.Errorf("got %s", out)
	}
}

func TestExecExitsAndErrors(t *testing.T) {
	l := newLab(t)
	box := l.idle(func(*sandbox.Config) {})
	if _, exit, err := box.exec("sh", "-c", "exit 7"); err != nil || exit.Code != 7 {
		t.Errorf("exit %+v, %v", exit, err)
	}
	if _, exit, err := box.exec("sh", "-c", "kill -9 $$"); err != nil || exit.Signal != 9 || exit.Code != 137 {
		t.Errorf("exit %+v, %v", exit, err)
	}
	var e *sandbox.ExecError
	if _, _, err := box.exec("nope"); !errors.As(err, &e) || e.ExitCode() != 127 {
		t.Errorf("missing program: %v", err)
	}
	sandbox.Kill(box.Sandbox, unix.SIGKILL)
	pid, fd := box.PID, box.PidFD
	box.wait()
	box.PID, box.PidFD = pid, fd
	if _, _, err := box.exec("true"); err == nil {
		t.Error("exec into a dead container worked")
	}
	box.PID = 0
}

func TestTerminal(t *testing.T) {
	l := newLab(t)
	cfg := l.config("sh", "-c", "tty; stty size; stat -c %t /dev/console; exec 3</dev/tty; read line; echo got $line")
	cfg.Spec.Process.Terminal = true
	cfg.Spec.Process.ConsoleSize = &specs.Box{Height: 40, Width: 100}
	box, err := sandbox.Start(l.ctx, cfg, l.local)
	l.must(err)
	defer func() {
		box.Close()
		l.must(sandbox.RemoveCgroup(l.ctx, cfg.CgroupPath))
		sandbox.RemoveCgroup(l.ctx, group())
	}()
	lines := bufio.NewScanner(box.Console)
	for _, want := range []string{"/dev/pts/0", "40 100", "88"} {
		if lines.Scan(); lines.Text() != want {
			t.Errorf("got %q, want %q", lines.Text(), want)
		}
	}
	if _, err := box.Console.WriteString("hello\n"); err != nil {
		t.Error(err)
	}
	for lines.Scan() && lines.Text() != "got hello" {
	}
	if lines.Text() != "got hello" {
		t.Errorf("last line %q, %v", lines.Text(), lines.Err())
	}
	if _, err := l.local.Wait(l.ctx, box); err != nil {
		t.Error(err)
	}
}

func TestReaper(t *testing.T) {
	l := newLab(t)
	cfg := l.sh(`sh -c 'sleep 0.01 & exit' ; trap 'echo term; exit 5' TERM; echo up $$; cat /proc/1/comm; grep -E "^(Seccomp:|CapEff|NoNew|Uid)" /proc/1/status; while :; do sleep 0.01; done`)
	cfg.Init = true
	box := l.start(cfg)
	lines := bufio.NewReader(box.out)
	first, err := lines.ReadString('\n')
	l.must(err)
	if strings.TrimSpace(first) == "up 1" {
		t.Error("the user's process is process 1")
	}
	var status strings.Builder
	for range 5 {
		line, err := lines.ReadString('\n')
		l.must(err)
		status.WriteString(line)
	}
	if !strings.Contains(status.String(), "Seccomp:\t2") || !strings.Contains(status.String(), "00000000a80425fb") {
		t.Errorf("the reaper has other rights than the process: %s", &status)
	}
	l.must(sandbox.Kill(box.Sandbox, unix.SIGTERM))
	rest, err := io.ReadAll(lines)
	l.must(err)
	if _, exit := box.wait(); exit.Code != 5 || !strings.Contains(string(rest), "term") {
		t.Errorf("exit %+v after %s", exit, rest)
	}
}

func TestReaperSaysThatTheProgramIsMissing(t *testing.T) {
	l := newLab(t)
	cfg := l.config("nope")
	cfg.Init = true
	var e *sandbox.ExecError
	if _, err := sandbox.Start(l.ctx, cfg, l.local); !errors.As(err, &e) || e.ExitCode() != 127 || e.Name != "nope" {
		t.Errorf("got %v", err)
	}
	sandbox.RemoveCgroup(l.ctx, group())
}
