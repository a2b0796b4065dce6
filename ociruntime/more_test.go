package ociruntime_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"naru/ociruntime"
)

// config-linux.md, Personality, Memory Policy; config.md, Scheduler, I/O Priority.
func TestPlaceOnTheMachine(t *testing.T) {
	for _, c := range []check{
		{"personality", func(s *specs.Spec) { s.Linux.Personality = &specs.LinuxPersonality{Domain: specs.PerLinux32} }, "uname -m", "i686"},
		{"scheduler.nice", func(s *specs.Spec) { s.Process.Scheduler = &specs.Scheduler{Policy: specs.SchedOther, Nice: 7} }, "cut -d' ' -f19 /proc/self/stat", "7"},
		{"scheduler.policy", func(s *specs.Spec) { s.Process.Scheduler = &specs.Scheduler{Policy: specs.SchedBatch} }, "cut -d' ' -f41 /proc/self/stat", "3"},
		{"ioPriority", func(s *specs.Spec) {
			s.Process.IOPriority = &specs.LinuxIOPriority{Class: specs.IOPRIO_CLASS_BE, Priority: 6}
		}, "ionice", "best-effort: prio 6"},
	} {
		t.Run(c.must, func(t *testing.T) { c.run(t) })
	}
}

// config-linux.md, Memory Policy: "runtimes MUST … set_mempolicy"; where the kernel has no memory nodes it says so.
func TestMemoryPolicy(t *testing.T) {
	l := newLab(t)
	l.spec.Linux.MemoryPolicy = &specs.LinuxMemoryPolicy{Mode: specs.MpolInterleave, Nodes: "0"}
	l.sh("head -n1 /proc/self/numa_maps | cut -d' ' -f2")
	if _, err := os.Stat("/proc/self/numa_maps"); err != nil {
		_, err := l.runtime.Run(l.ctx, l.options("run"), false)
		l.wantError(err, "memory-policy: function not implemented")
		return
	}
	if got := l.run(); got != "interleave:0" {
		t.Errorf("got %q", got)
	}
}

// olderThan says whether this machine's Linux came before a version.
func olderThan(t *testing.T, major, minor int) bool {
	t.Helper()
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		t.Fatal(err)
	}
	var is [2]int
	if _, err := fmt.Sscanf(string(release), "%d.%d", &is[0], &is[1]); err != nil {
		t.Fatal(err)
	}
	return is[0] < major || is[0] == major && is[1] < minor
}

// config-linux.md, Offset for Time Namespace: "timeOffsets … sets the offset"; namespaces by path are entered with
// their clocks.
func TestTimeNamespace(t *testing.T) {
	l := newLab(t)
	l.spec.Linux.Namespaces = append(l.spec.Linux.Namespaces, specs.LinuxNamespace{Type: specs.TimeNamespace})
	l.spec.Linux.TimeOffsets = map[string]specs.LinuxTimeOffset{"boottime": {Secs: 1_000_000_000, Nanosecs: 5}}
	if olderThan(t, 6, 2) {
		l.wantError(l.runtime.Create(l.ctx, l.options("clock")), "a time namespace needs Linux 6.2")
		return
	}
	l.sh("exec sleep 1000")
	l.create("clock")
	l.must(l.runtime.Start(l.ctx, id("clock")))
	if status, err := l.exec("clock", "test $(cut -d. -f1 /proc/uptime) -gt 1000000000"); err != nil || status != 0 {
		t.Errorf("exec: %d, %v", status, err)
	}
	s, err := l.runtime.State(id("clock"))
	l.must(err)
	l.spec.Linux.TimeOffsets = nil
	l.spec.Linux.Namespaces[len(l.spec.Linux.Namespaces)-1].Path = fmt.Sprintf("/proc/%d/ns/time", s.PID)
	l.sh("cut -d. -f1 /proc/uptime")
	if got := l.run(); len(got) != len("1000000000") {
		t.Errorf("up since %s", got)
	}
}

// config-linux.md, Namespaces: a user namespace by path has maps of its own, whatever stands beside it.
func TestUserNamespaceByPath(t *testing.T) {
	l := newLab(t)
	maps := []specs.LinuxIDMapping{{ContainerID: 0, HostID: 300000, Size: 1000}}
	l.inUserNamespace(maps)
	l.sh("exec sleep 1000")
	l.create("first")
	l.must(l.runtime.Start(l.ctx, id("first")))
	s, err := l.runtime.State(id("first"))
	l.must(err)
	for i := range l.spec.Linux.Namespaces {
		switch ns := &l.spec.Linux.Namespaces[i]; ns.Type {
		case specs.UserNamespace, specs.NetworkNamespace, specs.IPCNamespace:
			ns.Path = fmt.Sprintf("/proc/%d/ns/%s", s.PID, map[specs.LinuxNamespaceType]string{"user": "user", "network": "net", "ipc": "ipc"}[ns.Type])
		}
	}
	l.spec.Linux.UIDMappings, l.spec.Linux.GIDMappings = []specs.LinuxIDMapping{{Size: 1}}, nil // podman's, for runc
	l.sh("id -u; cat /proc/self/uid_map; cd /proc/self/ns; readlink user; readlink net; readlink ipc")
	want := []string{"0", "0 300000 1000"}
	for _, name := range []string{"user", "net", "ipc"} {
		link, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", s.PID, name))
		l.must(err)
		want = append(want, link)
	}
	if got := strings.Join(strings.Fields(l.run()), " "); got != strings.Join(want, " ") {
		t.Errorf("got %q, want %q", got, want)
	}
}

func (l *lab) inUserNamespace(maps []specs.LinuxIDMapping) {
	l.Helper()
	l.spec.Linux.UIDMappings, l.spec.Linux.GIDMappings = maps, maps
	l.spec.Linux.Namespaces = append(l.spec.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
	delete(l.spec.Linux.Sysctl, "net.ipv4.ping_group_range") // its groups are not all mapped
	l.must(os.Chmod(l.bundle, 0o755))
	for _, dir := range []string{"", "bin", "etc", "tmp"} {
		l.must(os.Chown(filepath.Join(l.bundle, "rootfs", dir), int(maps[0].HostID), int(maps[0].HostID)))
	}
}

// config-linux.md, Namespaces: a mount namespace by path stays as it is; the container's root is one within it.
func TestMountNamespaceByPath(t *testing.T) {
	l := newLab(t)
	holder := exec.CommandContext(l.ctx, "sleep", "1000")
	holder.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	l.must(holder.Start())
	defer func() { l.must(holder.Process.Kill()); _ = holder.Wait() }()
	for i := range l.spec.Linux.Namespaces {
		if ns := &l.spec.Linux.Namespaces[i]; ns.Type == specs.MountNamespace {
			ns.Path = fmt.Sprintf("/proc/%d/ns/mnt", holder.Process.Pid)
		}
	}
	want, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", holder.Process.Pid))
	l.must(err)
	l.sh("readlink /proc/self/ns/mnt; ls /bin/sh")
	if got := l.run(); got != want+"\n/bin/sh" {
		t.Errorf("got %q, want %q", got, want)
	}
}

// config-linux.md, Namespaces: "The runtime MUST generate an error if path is not associated with a namespace of type
// type"; "If a namespaces field contains duplicated namespaces with same type, the runtime MUST generate an error".
func TestNamespacesThatAreNone(t *testing.T) {
	l := newLab(t)
	namespaces := l.spec.Linux.Namespaces
	for path, words := range map[string]string{"/proc/self/ns/uts": "is no pid namespace", "/etc/passwd": "is no pid namespace", "/nowhere": "no such file"} {
		l.spec.Linux.Namespaces = []specs.LinuxNamespace{{Type: specs.MountNamespace}, {Type: specs.UTSNamespace}, {Type: specs.PIDNamespace, Path: path}}
		l.wantError(l.runtime.Create(l.ctx, l.options("bad")), words)
	}
	l.spec.Linux.Namespaces = append(namespaces, namespaces[0])
	l.wantError(l.runtime.Create(l.ctx, l.options("bad")), "twice")
}

// config.md, Mounts: uidMappings and gidMappings of a mount, with idmap and ridmap.
func TestMountsWithTheirOwnIDMaps(t *testing.T) {
	l := newLab(t)
	if olderThan(t, 6, 3) {
		t.Skip("tmpfs maps ids from Linux 6.3 on")
	}
	dir := t.TempDir()
	l.must(os.MkdirAll(filepath.Join(dir, "sub"), 0o755))
	l.must(unix.Mount("tmpfs", filepath.Join(dir, "sub"), "tmpfs", 0, ""))
	defer func() { l.must(unix.Unmount(filepath.Join(dir, "sub"), 0)) }()
	maps := []specs.LinuxIDMapping{{ContainerID: 0, HostID: 1000, Size: 10}}
	mount := specs.Mount{Destination: "/tmp", Type: "bind", Source: dir, UIDMappings: maps, GIDMappings: maps}
	whole := l.spec.Mounts
	for option, want := range map[string]string{"idmap": "1000:1000 0:0", "ridmap": "1000:1000 1000:1000"} {
		mount.Options = []string{"rbind", option}
		l.spec.Mounts = append(whole[:len(whole):len(whole)], mount)
		l.sh("stat -c %u:%g /tmp /tmp/sub")
		if got := strings.Join(strings.Fields(l.run()), " "); got != want {
			t.Errorf("%s: got %q, want %q", option, got, want)
		}
	}
}

// config-linux.md, Rootfs Mount Propagation; config.md, Mounts: propagation of each mount.
func TestPropagation(t *testing.T) {
	source := t.TempDir()
	kind := func(path string) string {
		return "grep -E '^([^ ]+ ){4}" + path + " ' /proc/self/mountinfo | cut -d' ' -f7 | cut -d: -f1"
	}
	with := func(options ...string) func(*specs.Spec) {
		return func(s *specs.Spec) {
			s.Mounts = append(s.Mounts, specs.Mount{Destination: "/tmp", Type: "bind", Source: source, Options: append(options, "rbind")},
				specs.Mount{Destination: "/tmp/x", Type: "tmpfs", Source: "x", Options: options})
		}
	}
	for _, c := range []check{
		{"rootfsPropagation shared", func(s *specs.Spec) { s.Linux.RootfsPropagation = "shared" }, kind("/"), "shared"},
		{"rootfsPropagation unbindable", func(s *specs.Spec) { s.Linux.RootfsPropagation = "unbindable" }, kind("/"), "unbindable"},
		{"rootfsPropagation private", func(s *specs.Spec) { s.Linux.RootfsPropagation = "private" }, kind("/"), "-"},
		{"rshared", with("rshared"), kind("/tmp") + ";" + kind("/tmp/x"), "shared\nshared"},
		{"unbindable", with("unbindable"), kind("/tmp") + ";" + kind("/tmp/x"), "unbindable\nunbindable"},
		{"rprivate", with("rprivate"), kind("/tmp") + ";" + kind("/tmp/x"), "-\n-"},
	} {
		t.Run(c.must, func(t *testing.T) { c.run(t) })
	}
}

// config.md, Mounts: "tmpcopyup copy up the contents to a tmpfs".
func TestTmpfsBegunWithWhatWasThere(t *testing.T) {
	l := newLab(t)
	etc := filepath.Join(l.bundle, "rootfs/etc")
	l.must(os.MkdirAll(filepath.Join(etc, "deep/er"), 0o750))
	l.must(os.WriteFile(filepath.Join(etc, "deep/er/file"), []byte("kept"), 0o600))
	l.must(unix.Chmod(filepath.Join(etc, "deep/er/file"), 0o4751))
	l.must(os.Chown(filepath.Join(etc, "deep/er"), 3, 4))
	l.must(os.Symlink("/nowhere", filepath.Join(etc, "link")))
	l.must(unix.Mkfifo(filepath.Join(etc, "pipe"), 0o640))
	l.spec.Mounts = append(l.spec.Mounts, specs.Mount{Destination: "/etc", Type: "tmpfs", Source: "tmpfs", Options: []string{"tmpcopyup", "ro", "mode=755"}})
	l.sh("cd /etc; cat deep/er/file secret; echo; stat -c '%a %u %g %F' deep deep/er deep/er/file pipe; readlink link; touch x 2>&1 || true")
	want := "kepthidden\n750 0 0 directory\n750 3 4 directory\n4751 0 0 regular file\n640 0 0 fifo\n/nowhere\ntouch: x: Read-only file system"
	if got := l.run(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// config-linux.md, Seccomp: the container process state goes to listenerPath, with the descriptor that it names.
func TestSeccompListener(t *testing.T) {
	l := newLab(t)
	socket := filepath.Join(t.TempDir(), "agent")
	listener, err := net.Listen("unix", socket)
	l.must(err)
	defer listener.Close()
	l.spec.Linux.Seccomp = &specs.LinuxSeccomp{DefaultAction: specs.ActAllow, ListenerPath: socket, ListenerMetadata: "mine",
		Syscalls: []specs.LinuxSyscall{{Names: []string{"mkdir", "mkdirat"}, Action: specs.ActNotify}}}
	answered := make(chan specs.ContainerProcessState, 2)
	go func() {
		for range 2 {
			answered <- refuseOnce(l, listener)
		}
	}()
	l.sh("mkdir /tmp/x 2>&1; exec sleep 1000")
	l.create("asks")
	l.must(l.runtime.Start(l.ctx, id("asks")))
	s, err := l.runtime.State(id("asks"))
	l.must(err)
	if a := <-answered; a.Pid != s.PID || a.Metadata != "mine" || a.State.ID != id("asks") || a.State.Status != specs.StateCreating || len(a.Fds) != 1 || a.Fds[0] != specs.SeccompFdName {
		t.Errorf("the listener read %+v", a)
	}
	l.waitFor("the answer", func() bool { return strings.Contains(l.said(), "mkdir") })
	if status, err := l.exec("asks", "mkdir /tmp/y"); err != nil || status != 1 {
		t.Errorf("exec: %d, %v", status, err)
	}
	if a := <-answered; a.State.Status != specs.StateRunning || a.Pid == s.PID {
		t.Errorf("the listener read %+v of exec", a)
	}
	if got := l.said(); strings.Count(got, "Permission denied") != 2 {
		t.Errorf("said %q", got)
	}
	listener.Close()
	_, err = l.exec("asks", "true")
	l.wantError(err, "spec field linux.seccomp.listenerPath")
}

// refuseOnce takes a process's state, and answers its first notification with EACCES.
func refuseOnce(l *lab, listener net.Listener) (s specs.ContainerProcessState) {
	conn, err := listener.Accept()
	l.must(err)
	defer conn.Close()
	b, oob := make([]byte, 1<<16), make([]byte, unix.CmsgSpace(4))
	n, oobn, _, _, err := conn.(*net.UnixConn).ReadMsgUnix(b, oob)
	l.must(err)
	l.must(json.Unmarshal(b[:n], &s))
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	l.must(err)
	fds, err := unix.ParseUnixRights(&messages[0])
	l.must(err)
	l.must(answer(fds[0]))
	return s
}

// config.md, execCPUAffinity; and a process of a created container has the container's attributes.
func TestExecOnSomeProcessors(t *testing.T) {
	l := newLab(t)
	l.sh("exec sleep 1000")
	l.create("cpus")
	l.must(l.runtime.Start(l.ctx, id("cpus")))
	for affinity, want := range map[specs.CPUAffinity]string{{Final: "0"}: "0", {Initial: "0"}: "", {Initial: "4000"}: "spec field process.execCPUAffinity.initial"} {
		l.must(l.out.Truncate(0))
		_, err := l.runtime.Exec(l.ctx, ociruntime.ExecOptions{ID: id("cpus"), Stdio: ociruntime.Stdio{Files: [3]*os.File{nil, l.out, l.out}},
			Process: func(own *specs.Process) (*specs.Process, error) {
				own.ExecCPUAffinity = &affinity
				own.Args = []string{"sh", "-c", "grep Cpus_allowed_list /proc/self/status | cut -f2"}
				return own, nil
			}})
		switch {
		case affinity.Initial == "4000":
			l.wantError(err, want)
		case err != nil:
			t.Error(err)
		case want != "" && strings.Trim(l.said(), "\x00") != want:
			t.Errorf("%+v: %q", affinity, l.said())
		}
	}
}

// config.md, apparmorProfile, selinuxLabel; config-linux.md, mountLabel: what the host does not have is an error.
func TestLabelsNeedTheirModules(t *testing.T) {
	l := newLab(t)
	process := l.spec.Process
	if appArmor, _ := os.ReadFile("/sys/module/apparmor/parameters/enabled"); !strings.HasPrefix(string(appArmor), "Y") {
		process.ApparmorProfile = "x"
		l.wantError(l.runtime.Create(l.ctx, l.options("x")), `spec field process.apparmorProfile "x": this machine does not run AppArmor`)
	}
	process.ApparmorProfile = ""
	if _, err := os.Stat("/sys/fs/selinux/enforce"); err == nil {
		return
	}
	process.SelinuxLabel = "x"
	l.wantError(l.runtime.Create(l.ctx, l.options("x")), `spec field process.selinuxLabel "x": this machine does not run SELinux`)
	process.SelinuxLabel, l.spec.Linux.MountLabel = "", "x"
	l.wantError(l.runtime.Create(l.ctx, l.options("x")), `spec field linux.mountLabel "x": this machine does not run SELinux`)
}

// config-linux.md, Network, RDMA: limits of controllers that are not there are errors.
func TestLimitsNeedTheirControllers(t *testing.T) {
	l := newLab(t)
	n := uint32(5)
	for controller, change := range map[string]func(*specs.LinuxResources){
		"net_cls": func(r *specs.LinuxResources) { r.Network = &specs.LinuxNetwork{ClassID: &n} },
		"net_prio": func(r *specs.LinuxResources) {
			r.Network = &specs.LinuxNetwork{Priorities: []specs.LinuxInterfacePriority{{Name: "lo", Priority: 1}}}
		},
		"rdma": func(r *specs.LinuxResources) { r.Rdma = map[string]specs.LinuxRdma{"mlx5_1": {HcaHandles: &n}} },
	} {
		if hasController(controller) {
			continue
		}
		l.spec.Linux.Resources = &specs.LinuxResources{}
		change(l.spec.Linux.Resources)
		l.wantError(l.runtime.Create(l.ctx, l.options("x")), "this machine has no "+controller+" cgroups")
	}
}

func hasController(name string) bool {
	unified, _ := os.ReadFile("/sys/fs/cgroup/cgroup.controllers")
	_, err := os.Stat("/sys/fs/cgroup/" + name)
	return err == nil || strings.Contains(" "+string(unified)+" ", " "+name+" ")
}

// Sockets that systemd opened for the runtime are the program's, which is told of them as systemd tells; runc does the same.
func TestSocketsOfSystemd(t *testing.T) {
	l := newLab(t)
	socket, err := os.CreateTemp(t.TempDir(), "socket")
	l.must(err)
	defer socket.Close()
	_, err = socket.WriteString("a socket")
	l.must(err)
	_, err = socket.Seek(0, 0)
	l.must(err)
	l.sh("echo $LISTEN_FDS $LISTEN_PID; cat <&3")
	o := l.options("run")
	o.ListenFDs, o.Keep = 1, []*os.File{socket}
	if status, err := l.runtime.Run(l.ctx, o, false); err != nil || status != 0 || l.said() != "1 1\na socket" {
		t.Errorf("%d, %v, said %q", status, err, l.said())
	}
}

// The session keyring of who makes a container, with its keys, is not the container's, unless that is asked for. A keyring
// outlives its last process for a moment, and its owner sees it: no other test has these ids, and the container with one
// comes last.
func TestSessionKeyring(t *testing.T) {
	l := newLab(t)
	first := uint32(1000 * (310 + rand.IntN(1000)))
	l.inUserNamespace([]specs.LinuxIDMapping{{ContainerID: 0, HostID: first, Size: 1000}}) // it sees what it possesses
	l.spec.Linux.MaskedPaths = nil
	if _, err := os.Stat("/proc/keys"); err != nil {
		t.Skip("needs a kernel with keys:", err)
	}
	l.sh("cat /proc/keys")
	const own = " _ses: empty"
	o := l.options("run")
	o.KeepKeyring = true
	if status, err := l.runtime.Run(l.ctx, o, false); err != nil || status != 0 || strings.Contains(l.said(), own) {
		t.Errorf("--no-new-keyring: %d, %v, it sees\n%s", status, err, l.said())
	}
	if got := l.run(); !strings.Contains(got, own) {
		t.Errorf("it sees\n%s", got)
	}
}
