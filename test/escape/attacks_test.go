package escape

import (
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// try is one attack that needs nothing but a container.
type try struct {
	name string
	args []string
	// heldBy is what has to be left out for the attack to succeed: nothing less does. It is asRoot where the sandbox
	// leaves nothing out, and nil where the attack cannot succeed on such a machine.
	heldBy []string
}

// asRoot is how the table tells of the control.
const asRoot = "as the host's root, without a container"

// attacks run in a container of naru's, in one without a user namespace, in runc's, and as root of the host.
func attacks(t *testing.T, s *suite) {
	victim := hostProcess(t)
	key := hostKey(t)
	shm := hostMemory(t)
	for _, a := range []try{
		{"root inside is root outside", words("root-outside"), words("user namespace")},
		{"take every capability", words("capabilities"), words("capabilities")},
		{"mount a tmpfs", words("mount-tmpfs"), words("seccomp", "capabilities")},
		{"mount a proc without masks", words("mount-proc"), words("seccomp", "capabilities")},
		{"mount a sysfs", words("mount-sysfs"), words("seccomp", "capabilities", "user namespace")},
		{"mount the host's devices (devtmpfs)", words("mount-devtmpfs"), words("seccomp", "capabilities", "user namespace")},
		{"mount an overlay", words("mount-overlay"), words("seccomp", "capabilities")},
		{"mount by bind", words("mount-bind"), words("seccomp", "capabilities")},
		{"mount by fsopen and open_tree", words("fsopen"), words("seccomp", "capabilities")},
		{"mount a cgroup v1 hierarchy", words("mount-cgroup"), words("seccomp", "capabilities")},
		{"mount cgroup v2", words("mount-cgroup2"), words("seccomp", "capabilities")},
		{"cgroup release_agent (CVE-2022-0492)", words("release-agent"), words("seccomp")},
		{"write to a file of a cgroup", words("cgroup-write"), words("user namespace", "read-only mounts")},
		{"make /proc/sys writable again", words("remount"), words("seccomp", "capabilities")},
		{"take a mask away", words("unmask"), words("seccomp")},
		{"unshare a user and cgroup namespace", words("unshare-user"), words("seccomp")},
		{"clone a user namespace", words("clone-user"), words("seccomp")},
		{"clone3 a user namespace", words("clone3-user"), words("seccomp")},
		{"a user and network namespace, for netfilter", words("netfilter"), words("seccomp")},
		{"unshare by the x32 ABI", words("x32"), nil},
		{"enter a namespace of process 1", words("setns"), words("seccomp", "capabilities")},
		{"mknod a disk and read it", words("mknod-block"), words("user namespace", "device rules")},
		{"mknod /dev/mem and /dev/kmsg and read", words("mknod-memory"), words("capabilities", "user namespace", "device rules")},
		{"change the host's /dev/null", words("device-nodes", filesystemOf(t, "/dev/null")), words(asRoot)},
		{"core_pattern", words("core-pattern"), words("masks", "user namespace")},
		{"uevent_helper, hotplug, modprobe", words("uevent-helper"), nil},
		{"write anything below /proc/sys", words("proc-sys"), words("masks")},
		{"write anything below /sys", words("sys"), words("user namespace", "read-only mounts")},
		{"/proc/sysrq-trigger", words("sysrq"), nil},
		{"/proc/kcore", words("kcore"), nil},
		{"/proc/keys", words("keys-file"), words("masks")},
		{"everything that is masked", words("masked"), words("masks")},
		{"addresses in /proc/kallsyms", words("kallsyms"), words("capabilities", "user namespace")},
		{"dmesg", words("dmesg"), words("seccomp", "capabilities", "user namespace")},
		{"load a module", words("module"), nil},
		{"unload a module", words("delete-module"), nil},
		{"kexec", words("kexec"), nil},
		{"bpf", words("bpf"), words("seccomp", "capabilities", "user namespace")},
		{"perf_event_open", words("perf"), words("seccomp", "capabilities", "user namespace")},
		{"io_uring", words("io-uring"), words("seccomp")},
		{"userfaultfd", words("userfaultfd"), words("seccomp", "capabilities", "user namespace")},
		{"fanotify", words("fanotify"), words("seccomp", "capabilities", "user namespace")},
		{"vsock", words("vsock"), words("seccomp")},
		{"clock_settime, adjtimex", words("clock"), words("capabilities", "user namespace")},
		{"reboot", words("reboot"), words("seccomp", "capabilities")},
		{"swapon", words("swapon"), words("seccomp", "capabilities", "user namespace")},
		{"real-time priority", words("realtime"), words(asRoot)},
		{"open_by_handle_at (shocker)", words("handle"), words("seccomp", "capabilities", "user namespace")},
		{"a key of the host's user", words("keyring", key), words("seccomp")},
		{"System V shared memory of the host", words("sysv", shm), words("ipc namespace")},
		{"see and signal a process of the host", words("signal", victim), words("pid namespace", "user namespace")},
		{"a setuid program of the image", words("setuid"), words("no_new_privs", "user namespace")},
		{"read a file of the host, chroot out", words("host-file", s.flag), words(asRoot)},
		{"a terminal of the host's (TIOCSTI)", words("terminal", filesystemOf(t, "/dev/pts")), nil},
		{"leaked descriptors (CVE-2024-21626)", words("descriptors"), words(asRoot)},
	} {
		t.Run(a.args[0], func(t *testing.T) { s.attack(t, a) })
	}
}

func words(w ...string) []string { return w }

func (s *suite) attack(t *testing.T, a try) {
	s.table.note(t, a.name, naru, s.inNaru(nil, a.args...))
	s.table.note(t, a.name, hostUser, s.inNaru(words("--userns", "host"), a.args...))
	if s.runc != nil {
		s.table.note(t, a.name, docker, s.runc.run(t, a.args...))
	}
	switch {
	case a.heldBy == nil:
	case a.heldBy[0] != asRoot:
		s.table.red(t, a.name, "without "+strings.Join(a.heldBy, ", "), s.without(t, a.heldBy, a.args))
		if *update {
			s.needsAll(t, a)
		}
	default:
		root, err := os.Open("/")
		must(t, err)
		defer root.Close()
		s.table.red(t, a.name, asRoot, s.onHost(t, []*os.File{root}, a.args...))
	}
}

// needsAll checks that an attack fails again, or the container no longer starts, when one of the defences left out is put back.
func (s *suite) needsAll(t *testing.T, a try) {
	t.Helper()
	for i, name := range a.heldBy {
		fewer := slices.Delete(slices.Clone(a.heldBy), i, i+1)
		if o := s.without(t, fewer, a.args); len(fewer) > 0 && o.verdict == "escaped" {
			t.Errorf("%s: with %s put back it succeeds still: %s", a.name, name, o.seen)
		}
	}
}

// hostProcess is a process of the host that nothing bad happens to; it ends with the test.
func hostProcess(t *testing.T) string {
	t.Helper()
	cmd := exec.Command("sleep", "600")
	must(t, cmd.Start())
	pid := strconv.Itoa(cmd.Process.Pid)
	t.Cleanup(func() {
		if err := cmd.Process.Signal(syscall.Signal(0)); err != nil {
			t.Errorf("a process of the host did not survive: %v", err)
		}
		_ = cmd.Process.Kill() // gone is good
		_ = cmd.Wait()         // killed
	})
	return pid
}

// hostKey gives the host's user a key, and returns its name.
func hostKey(t *testing.T) string {
	t.Helper()
	name := "naru-escape-" + strconv.Itoa(os.Getpid())
	id, err := unix.AddKey("user", name, []byte("secret"), unix.KEY_SPEC_USER_KEYRING)
	must(t, err)
	t.Cleanup(func() {
		_, err := unix.KeyctlInt(unix.KEYCTL_UNLINK, id, unix.KEY_SPEC_USER_KEYRING, 0, 0)
		must(t, err)
	})
	return name
}

// hostMemory makes a System V segment on the host, and returns its key.
func hostMemory(t *testing.T) string {
	t.Helper()
	key := 0x6e000000 + os.Getpid()
	id, err := unix.SysvShmGet(key, 4096, unix.IPC_CREAT|unix.IPC_EXCL|0o666)
	must(t, err)
	t.Cleanup(func() {
		_, err := unix.SysvShmCtl(id, unix.IPC_RMID, nil)
		must(t, err)
	})
	return strconv.Itoa(key)
}

// filesystemOf is the number of the filesystem that a path lies in.
func filesystemOf(t *testing.T, path string) string {
	t.Helper()
	var st unix.Stat_t
	must(t, unix.Stat(path, &st))
	return strconv.FormatUint(st.Dev, 10)
}
