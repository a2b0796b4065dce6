package ociruntime_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"naru/ociruntime"
)

// check is a MUST of the spec: a change of the configuration, a script, and what that says.
type check struct {
	must   string
	change func(*specs.Spec)
	script string
	says   string
}

// TestTheProcess is about config.md, Process, and config-linux.md.
func TestTheProcess(t *testing.T) {
	umask := uint32(0o027)
	score := 500
	for _, c := range []check{
		{"cwd is the working directory", func(s *specs.Spec) { s.Process.Cwd = "/etc" }, "pwd", "/etc"},
		{"env is the environment", func(s *specs.Spec) { s.Process.Env = append(s.Process.Env, "A=b c") }, "echo $A", "b c"},
		{"user.uid and user.gid", func(s *specs.Spec) { s.Process.User = specs.User{UID: 7, GID: 8} }, "id -u; id -g", "7\n8"},
		{"user.additionalGids", func(s *specs.Spec) { s.Process.User.AdditionalGids = []uint32{5, 6} }, "id -G", "0 5 6"},
		{"user.umask", func(s *specs.Spec) { s.Process.User.Umask = &umask }, "umask", "0027"},
		{"rlimits: soft and hard", func(s *specs.Spec) {
			s.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Soft: 100, Hard: 200}}
		}, "ulimit -Sn; ulimit -Hn", "100\n200"},
		{"noNewPrivileges true", func(s *specs.Spec) { s.Process.NoNewPrivileges = true }, "grep NoNewPrivs /proc/self/status | cut -f2", "1"},
		{"noNewPrivileges false", func(s *specs.Spec) { s.Process.NoNewPrivileges = false }, "grep NoNewPrivs /proc/self/status | cut -f2", "0"},
		{"oomScoreAdj", func(s *specs.Spec) { s.Process.OOMScoreAdj = &score }, "cat /proc/self/oom_score_adj", "500"},
		{"capabilities: all five sets", func(s *specs.Spec) {
			s.Process.Capabilities = &specs.LinuxCapabilities{Bounding: []string{"CAP_CHOWN", "CAP_KILL", "CAP_SETUID"},
				Permitted: []string{"CAP_CHOWN", "CAP_KILL"}, Effective: []string{"CAP_CHOWN"}, Inheritable: []string{"CAP_KILL"}, Ambient: []string{"CAP_KILL"}}
			s.Process.User = specs.User{UID: 5, GID: 5}
		}, "grep -E 'CapInh|CapPrm|CapEff|CapBnd|CapAmb' /proc/self/status | cut -c14-", "00000000020\n00000000020\n00000000020\n000000000a1\n00000000020"}, // exec made the ambient ones permitted and effective
		{"hostname and domainname", func(s *specs.Spec) { s.Hostname, s.Domainname = "boat", "river" }, "cat /proc/sys/kernel/hostname /proc/sys/kernel/domainname", "boat\nriver"},
		{"oomScoreAdj that is not set MUST NOT change", func(*specs.Spec) {}, "cat /proc/self/oom_score_adj", ownOOMScore()},
		{"consoleSize MUST be ignored without a terminal", func(s *specs.Spec) { s.Process.ConsoleSize = &specs.Box{Height: 3, Width: 4} }, "tty || true", "not a tty"},
		{"no capabilities is none", func(s *specs.Spec) { s.Process.Capabilities = nil }, "grep CapEff /proc/self/status | cut -f2", "0000000000000000"},
	} {
		t.Run(c.must, func(t *testing.T) { c.run(t) })
	}
}

func ownOOMScore() string {
	b, _ := os.ReadFile("/proc/self/oom_score_adj") // the test says so when there is none
	return strings.TrimSpace(string(b))
}

func (c check) run(t *testing.T) {
	l := newLab(t)
	c.change(l.spec)
	l.sh(c.script)
	if got := l.run(); got != c.says {
		t.Errorf("got %q, want %q", got, c.says)
	}
}

// TestTheFilesystem is about config.md, Root and Mounts, and config-linux.md.
func TestTheFilesystem(t *testing.T) {
	for _, c := range []check{
		{"root.readonly: the root MUST be read-only", func(s *specs.Spec) { s.Root.Readonly = true }, "touch /x 2>&1 || true", "touch: /x: Read-only file system"},
		{"mounts MUST be mounted in the listed order", func(s *specs.Spec) {
			s.Mounts = append(s.Mounts, specs.Mount{Destination: "/tmp", Type: "tmpfs", Source: "first"}, specs.Mount{Destination: "/tmp/a/b", Type: "tmpfs", Source: "second"})
		}, "grep -E ' /tmp' /proc/self/mounts | cut -d' ' -f1,2", "first /tmp\nsecond /tmp/a/b"},
		{"a relative destination MUST be interpreted as relative to /", func(s *specs.Spec) {
			s.Mounts = append(s.Mounts, specs.Mount{Destination: "tmp/here", Type: "tmpfs", Source: "here"})
		}, "grep -E '^here' /proc/self/mounts | cut -d' ' -f2", "/tmp/here"},
		{"options of binds", func(s *specs.Spec) {
			s.Mounts = append(s.Mounts, specs.Mount{Destination: "/tmp", Type: "bind", Source: "/etc", Options: []string{"rbind", "ro", "nosuid", "nodev", "noexec"}})
		}, "grep ' /tmp ' /proc/self/mounts | cut -d' ' -f4 | cut -d, -f1-4", "ro,nosuid,nodev,noexec"},
		{"default devices MUST be there", func(*specs.Spec) {}, "cd /dev; stat -c '%n %t:%T' null zero full random urandom tty", "null 1:3\nzero 1:5\nfull 1:7\nrandom 1:8\nurandom 1:9\ntty 5:0"},
		{"default symlinks MUST be there", func(*specs.Spec) {}, "cd /dev; for l in fd stdin stdout stderr ptmx; do readlink $l; done", "/proc/self/fd\n/proc/self/fd/0\n/proc/self/fd/1\n/proc/self/fd/2\npts/ptmx"},
		{"devices", func(s *specs.Spec) {
			mode, owner := os.FileMode(0o640), uint32(9)
			s.Linux.Devices = []specs.LinuxDevice{{Path: "/dev/mine", Type: "c", Major: 1, Minor: 3, FileMode: &mode, UID: &owner, GID: &owner}}
		}, "stat -c '%a %u %g %t:%T' /dev/mine", "640 9 9 1:3"},
		{"maskedPaths: MUST NOT be readable", func(s *specs.Spec) { s.Linux.MaskedPaths = append(s.Linux.MaskedPaths, "/etc/secret") }, "cat /etc/secret; echo $?", "0"},
		{"readonlyPaths", func(s *specs.Spec) { s.Linux.ReadonlyPaths = append(s.Linux.ReadonlyPaths, "/etc") }, "touch /etc/x 2>&1 || true", "touch: /etc/x: Read-only file system"},
		{"sysctl", func(s *specs.Spec) { s.Linux.Sysctl = map[string]string{"net.ipv4.ip_forward": "1"} }, "cat /proc/sys/net/ipv4/ip_forward", "1"},
	} {
		t.Run(c.must, func(t *testing.T) { c.run(t) })
	}
}

// config-linux.md, Namespaces: "If path is specified, the runtime MUST place the container process in the namespace
// associated with that path"; several at once, as pods have them.
func TestNamespacesByPath(t *testing.T) {
	l := newLab(t)
	l.sh("exec sleep 1000")
	l.create("pod")
	l.must(l.runtime.Start(l.ctx, id("pod")))
	pod, err := l.runtime.State(id("pod"))
	l.must(err)
	var want []string
	for i := range l.spec.Linux.Namespaces {
		ns := &l.spec.Linux.Namespaces[i]
		name := map[specs.LinuxNamespaceType]string{specs.NetworkNamespace: "net", specs.IPCNamespace: "ipc", specs.UTSNamespace: "uts", specs.PIDNamespace: "pid"}[ns.Type]
		if name == "" {
			continue
		}
		ns.Path = fmt.Sprintf("/proc/%d/ns/%s", pod.PID, name)
		link, err := os.Readlink(ns.Path)
		l.must(err)
		want = append(want, link)
	}
	l.spec.Hostname = ""
	l.sh("exec sleep 1000")
	l.create("member")
	l.must(l.runtime.Start(l.ctx, id("member")))
	member, err := l.runtime.State(id("member"))
	l.must(err)
	for i, name := range []string{"pid", "ipc", "uts", "net"} {
		link, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", member.PID, name))
		if err != nil || link != want[i] {
			t.Errorf("%s: %s, %v, want %s", name, link, err, want[i])
		}
	}
}

// config.md, Hooks: each stage, in its order, with the state on standard input: "The state of the container MUST be
// passed to hooks over stdin"; "Hooks MUST be called in the listed order"; paths of startContainer resolve inside.
func TestHooks(t *testing.T) {
	l := newLab(t)
	log := filepath.Join(l.bundle, "rootfs/log") // host and container both reach it
	l.must(os.WriteFile(log, nil, 0o666))
	host := func(stage string) []specs.Hook {
		return []specs.Hook{{Path: "/bin/sh", Args: []string{"sh", "-c", `echo "` + stage + ` $W $(cat)" >> ` + log}, Env: []string{"PATH=/bin:/usr/bin", "W=1"}},
			{Path: "/bin/sh", Args: []string{"sh", "-c", "echo second >> " + log}}}
	}
	inside := []specs.Hook{{Path: "/bin/sh", Args: []string{"sh", "-c", `echo "startContainer 1 $(cat)" >> /log`}, Env: []string{"PATH=/bin"}}, {Path: "/bin/sh", Args: []string{"sh", "-c", "echo second >> /log"}}}
	l.spec.Hooks = &specs.Hooks{CreateRuntime: host("createRuntime"), CreateContainer: host("createContainer"), StartContainer: inside,
		Poststart: host("poststart"), Poststop: host("poststop")}
	//lint:ignore SA1019 dockerd uses it
	l.spec.Hooks.Prestart = host("prestart")
	l.sh("exec sleep 1000")
	l.create("hooks")
	s, err := l.runtime.State(id("hooks"))
	l.must(err)
	l.must(l.runtime.Start(l.ctx, id("hooks")))
	l.stop("hooks")
	l.must(l.runtime.Delete(l.ctx, id("hooks"), false))
	want := []struct {
		stage  string
		status specs.ContainerState
		pid    int
	}{{"prestart", specs.StateCreating, s.PID}, {"createRuntime", specs.StateCreating, s.PID}, {"createContainer", specs.StateCreating, 1},
		{"startContainer", specs.StateCreated, 1}, {"poststart", specs.StateRunning, s.PID}, {"poststop", specs.StateStopped, 0}}
	f, err := os.Open(log)
	l.must(err)
	defer f.Close()
	lines := bufio.NewScanner(f)
	for _, w := range want {
		lines.Scan()
		said, state, _ := strings.Cut(lines.Text(), " 1 ")
		var got specs.State
		if err := json.Unmarshal([]byte(state), &got); err != nil || said != w.stage || got.Status != w.status || got.Pid != w.pid || got.ID != id("hooks") || got.Bundle != l.bundle {
			t.Errorf("want %+v, got %q (%v)", w, lines.Text(), err)
		}
		if lines.Scan(); lines.Text() != "second" {
			t.Errorf("after the first of %s: %q", w.stage, lines.Text())
		}
	}
}

// runtime.md, Lifecycle: "If any createRuntime hook fails, the runtime MUST generate an error, stop the container, and
// continue the lifecycle at step 12" (poststop), and so for createContainer, startContainer and poststart; "If any
// poststop hook fails, the runtime MUST log a warning" and go on. A hook's timeout ends it.
func TestHooksThatFail(t *testing.T) {
	seconds := 1
	bad := []specs.Hook{{Path: "/bin/sh", Args: []string{"sh", "-c", "exit 3"}}}
	for words, hooks := range map[string]*specs.Hooks{
		"exit status 3":             {CreateRuntime: bad},
		"/bin/sh: exit status 3":    {CreateContainer: bad},
		"context deadline exceeded": {CreateRuntime: []specs.Hook{{Path: "/bin/sleep", Args: []string{"sleep", "100"}, Timeout: &seconds}}},
		"hook: /bin/sleep: killed":  {CreateContainer: []specs.Hook{{Path: "/bin/sleep", Args: []string{"sleep", "100"}, Timeout: &seconds}}},
	} {
		l := newLab(t)
		stopped := filepath.Join(l.bundle, "stopped")
		hooks.Poststop = []specs.Hook{{Path: "/bin/sh", Args: []string{"sh", "-c", "echo > " + stopped}}}
		l.spec.Hooks = hooks
		l.wantError(l.runtime.Create(l.ctx, l.options("bad")), words)
		if _, err := os.Stat(stopped); err != nil {
			t.Errorf("%s: the poststop hook did not run: %v", words, err)
		}
	}
	for stage, hooks := range map[string]*specs.Hooks{"poststart": {Poststart: bad}, "startContainer": {StartContainer: []specs.Hook{{Path: "/bin/sh", Args: bad[0].Args}}}} {
		l := newLab(t)
		hooks.Poststop = bad
		l.spec.Hooks = hooks
		l.sh("exec sleep 1000")
		l.create(stage)
		l.wantError(l.runtime.Start(l.ctx, id(stage)), "exit status 3")
		reap()
		_, err := l.runtime.State(id(stage))
		l.wantError(err, "does not exist")
		if got := strings.Join(l.warned, "\n"); strings.Count(got, "exit status 3") != 1 {
			t.Errorf("warned %q", got)
		}
	}
}

// A terminal's master goes to the console socket; exec runs in the container and gives its status; descriptors are kept.
func TestTerminalExecAndDescriptors(t *testing.T) {
	l := newLab(t)
	l.spec.Process.Terminal = true
	l.spec.Process.ConsoleSize = &specs.Box{Height: 30, Width: 90}
	l.sh("tty; stty size; exec sleep 1000")
	socket := filepath.Join(t.TempDir(), "console")
	listener, err := net.Listen("unix", socket)
	l.must(err)
	defer listener.Close()
	o := l.options("tty")
	l.wantError(l.runtime.Create(l.ctx, o), "needs a console socket")
	o.ConsoleSocket = socket
	l.must(l.runtime.Create(l.ctx, o))
	master := receive(l, listener)
	defer master.Close()
	l.must(l.runtime.Start(l.ctx, id("tty")))
	lines := bufio.NewScanner(master)
	for _, want := range []string{"/dev/pts/0", "30 90"} {
		if lines.Scan(); lines.Text() != want {
			t.Errorf("said %q, want %q", lines.Text(), want)
		}
	}
	l.spec.Process.Terminal = false
	if status, err := l.exec("tty", "exit 7"); err != nil || status != 7 {
		t.Errorf("exec: %d, %v", status, err)
	}
	r, w, err := os.Pipe()
	l.must(err)
	defer r.Close()
	status, err := l.runtime.Exec(l.ctx, ociruntime.ExecOptions{ID: id("tty"), Stdio: ociruntime.Stdio{Files: o.Files, Keep: []*os.File{w}},
		Process: func(own *specs.Process) (*specs.Process, error) {
			own.Args, own.Terminal = []string{"sh", "-c", "echo kept >&3; ls /proc/self/fd | head -n 5 >&3"}, false
			return own, nil
		}})
	w.Close()
	if err != nil || status != 0 {
		t.Fatal(status, err)
	}
	kept := bufio.NewScanner(r)
	if kept.Scan(); kept.Text() != "kept" {
		t.Errorf("descriptor 3 said %q", kept.Text())
	}
}

func receive(l *lab, listener net.Listener) *os.File {
	l.Helper()
	conn, err := listener.Accept()
	l.must(err)
	defer conn.Close()
	oob := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := conn.(*net.UnixConn).ReadMsgUnix(make([]byte, 64), oob)
	l.must(err)
	messages, err := unix.ParseSocketControlMessage(oob[:n])
	l.must(err)
	fds, err := unix.ParseUnixRights(&messages[0])
	l.must(err)
	return os.NewFile(uintptr(fds[0]), "master")
}

// A user namespace of the spec's own: root inside is another outside, and the bundle's files are not mapped.
func TestUserNamespace(t *testing.T) {
	l := newLab(t)
	maps := []specs.LinuxIDMapping{{ContainerID: 0, HostID: 300000, Size: 65536}}
	l.spec.Linux.UIDMappings, l.spec.Linux.GIDMappings = maps, maps
	l.spec.Linux.Namespaces = append(l.spec.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
	delete(l.spec.Linux.Sysctl, "net.ipv4.ping_group_range") // its groups are not all mapped
	l.must(os.Chmod(l.bundle, 0o755))
	for _, dir := range []string{"", "bin", "etc", "tmp"} {
		l.must(os.Chown(filepath.Join(l.bundle, "rootfs", dir), 300000, 300000))
	}
	l.sh("id -u; stat -c %u /etc /bin/busybox; head -n1 /proc/self/uid_map")
	if got := strings.Join(strings.Fields(l.run()), " "); got != "0 0 65534 0 300000 65536" {
		t.Errorf("got %q", got)
	}
}

// config.md, Linux Process, capabilities: "Any value which cannot be … granted otherwise … MUST be logged as a warning
// by the runtime. Runtimes SHOULD NOT fail".
func TestCapabilitiesThatCannotBeGranted(t *testing.T) {
	l := newLab(t)
	l.spec.Process.Capabilities = &specs.LinuxCapabilities{Bounding: []string{"CAP_FLY", "CAP_KILL"}, Permitted: []string{"CAP_FLY"}}
	l.sh("grep CapBnd /proc/self/status | cut -f2")
	if got := l.run(); got != "0000000000000020" {
		t.Errorf("got %q", got)
	}
	if got := strings.Join(l.warned, "\n"); got != "capability CAP_FLY cannot be granted here" {
		t.Errorf("warned %q", got)
	}
}

// The kernel would refuse it; runc spec of 1.1.5 asks for it, and runc says nothing.
func TestWhatIsAmbientIsInheritableToo(t *testing.T) {
	l := newLab(t)
	both := []string{"CAP_KILL", "CHOWN"}
	l.spec.Process.Capabilities = &specs.LinuxCapabilities{Bounding: both, Permitted: both, Inheritable: []string{"CAP_CHOWN"}, Ambient: both}
	l.sh("grep CapAmb /proc/self/status | cut -f2")
	if got := l.run(); got != "0000000000000001" {
		t.Errorf("got %q", got)
	}
	if got := strings.Join(l.warned, "\n"); got != "capability CAP_KILL cannot be granted here" {
		t.Errorf("warned %q", got)
	}
}

// config.md, Linux, default devices: the container can use them, whatever its device rules forget.
func TestDefaultDevicesAreAllowed(t *testing.T) {
	l := newLab(t)
	l.spec.Linux.Resources.Devices = []specs.LinuxDeviceCgroup{{Allow: false, Access: "rwm"}}
	l.spec.Linux.Devices = []specs.LinuxDevice{{Path: "/dev/full", Type: "c", Major: 1, Minor: 7}} // named twice is no error
	l.sh("head -c 1 /dev/zero >/dev/null; head -c 1 /dev/full >/dev/null; echo $?")
	if got := l.run(); got != "0" {
		t.Errorf("got %q", got)
	}
}
