package escape

import (
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// try is one attack that needs nothing but a container.
type try struct {
	name string
	args []string
	flat bool // succeeding on the host is not to be had: nothing shows that the test can go red
}

// asRoot is how the table tells of the control.
const asRoot = "as the host's root, without a container"

// attacks run in a container of naru's, in one without a user namespace, in runc's, and as root of the host.
func attacks(t *testing.T, s *suite) {
	victim := hostProcess(t)
	key := hostKey(t)
	shm := hostMemory(t)
	for _, a := range []try{
		{"root inside is root outside", words("root-outside"), false},
		{"take every capability", words("capabilities"), false},
		{"mount a tmpfs", words("mount-tmpfs"), false},
		{"mount a proc without masks", words("mount-proc"), false},
		{"mount a sysfs", words("mount-sysfs"), false},
		{"mount the host's devices (devtmpfs)", words("mount-devtmpfs"), false},
		{"mount an overlay", words("mount-overlay"), false},
		{"mount by bind", words("mount-bind"), false},
		{"mount by fsopen and open_tree", words("fsopen"), false},
		{"mount a cgroup v1 hierarchy", words("mount-cgroup"), false},
		{"mount cgroup v2", words("mount-cgroup2"), false},
		{"cgroup release_agent (CVE-2022-0492)", words("release-agent"), false},
		{"write to a file of a cgroup", words("cgroup-write"), false},
		{"make /proc/sys writable again", words("remount"), false},
		{"take a mask away", words("unmask"), false},
		{"unshare a user and cgroup namespace", words("unshare-user"), false},
		{"clone a user namespace", words("clone-user"), false},
		{"clone3 a user namespace", words("clone3-user"), false},
		{"a user and network namespace, for netfilter", words("netfilter"), false},
		{"unshare by the x32 ABI", words("x32"), true},
		{"enter a namespace of process 1", words("setns"), true},
		{"mknod a disk and read it", words("mknod-block"), false},
		{"mknod /dev/mem and /dev/kmsg and read", words("mknod-memory"), false},
		{"change the host's /dev/null", words("device-nodes", filesystemOf(t, "/dev/null")), false},
		{"core_pattern", words("core-pattern"), false},
		{"uevent_helper, hotplug, modprobe", words("uevent-helper"), true},
		{"write anything below /proc/sys", words("proc-sys"), false},
		{"write anything below /sys", words("sys"), false},
		{"/proc/sysrq-trigger", words("sysrq"), true},
		{"/proc/kcore", words("kcore"), true},
		{"/proc/keys", words("keys-file"), false},
		{"everything that is masked", words("masked"), false},
		{"addresses in /proc/kallsyms", words("kallsyms"), false},
		{"dmesg", words("dmesg"), false},
		{"load a module", words("module"), true},
		{"unload a module", words("delete-module"), true},
		{"kexec", words("kexec"), true},
		{"bpf", words("bpf"), false},
		{"perf_event_open", words("perf"), false},
		{"io_uring", words("io-uring"), false},
		{"userfaultfd", words("userfaultfd"), false},
		{"fanotify", words("fanotify"), false},
		{"vsock", words("vsock"), false},
		{"clock_settime, adjtimex", words("clock"), false},
		{"reboot", words("reboot"), false},
		{"swapon", words("swapon"), false},
		{"real-time priority", words("realtime"), false},
		{"open_by_handle_at (shocker)", words("handle"), false},
		{"a key of the host's user", words("keyring", key), false},
		{"System V shared memory of the host", words("sysv", shm), false},
		{"see and signal a process of the host", words("signal", victim), false},
		{"a setuid program of the image", words("setuid"), true},
		{"read a file of the host, chroot out", words("host-file", s.flag), false},
		{"a terminal of the host's (TIOCSTI)", words("terminal", filesystemOf(t, "/dev/pts")), true},
		{"leaked descriptors (CVE-2024-21626)", words("descriptors"), false},
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
	root, err := os.Open("/")
	must(t, err)
	defer root.Close()
	o := s.onHost(t, []*os.File{root}, a.args...)
	if a.flat {
		return
	}
	s.table.red(t, a.name, asRoot, o)
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
