package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Each call below is made so that it changes nothing where it is allowed: with arguments that are wrong in a way that
// the kernel sees only after it has asked for permission, or with what is so already.

func reboot([]string) finding {
	return called("reboot", unix.Reboot(0x0BAD)) // no such command: EINVAL for who may
}

func kexec([]string) finding {
	const unload = 0 // no segments: there is nothing loaded that could be lost
	_, _, e := unix.Syscall6(unix.SYS_KEXEC_LOAD, 0, unload, 0, 1<<31 /* no such flag */, 0, 0)
	return called("kexec_load", errnoOf(e))
}

func module([]string) finding {
	junk := []byte("no module")
	_, _, e := unix.Syscall(unix.SYS_INIT_MODULE, uintptr(unsafe.Pointer(&junk[0])), uintptr(len(junk)), uintptr(unsafe.Pointer(&[]byte{0}[0])))
	return called("init_module", errnoOf(e))
}

func deleteModule([]string) finding {
	return called("delete_module", unix.DeleteModule("naru_no_such_module", unix.O_NONBLOCK))
}

func swapon([]string) finding {
	path, _ := unix.BytePtrFromString("/no-such-swap")
	_, _, e := unix.Syscall(unix.SYS_SWAPON, uintptr(unsafe.Pointer(path)), 0, 0)
	return called("swapon", errnoOf(e))
}

// clock sets the length of the kernel's tick to what it is.
func clock([]string) finding {
	var t unix.Timex
	if _, err := unix.Adjtimex(&t); err != nil {
		return called("adjtimex", err)
	}
	t.Modes = 0x4000 // ADJ_TICK
	_, err := unix.Adjtimex(&t)
	return called("adjtimex", err)
}

func dmesg([]string) finding {
	buf := make([]byte, 4096)
	if n, err := unix.Klogctl(3 /* SYSLOG_ACTION_READ_ALL */, buf); err == nil {
		return saw(escaped, "read %d bytes of the kernel's log", n)
	}
	fd, err := unix.Open("/dev/kmsg", unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return saw(held, "syslog and /dev/kmsg: %v", err)
	}
	_, err = unix.Read(fd, buf)
	return called("read of /dev/kmsg", err)
}

// bpf loads the smallest program there is: r0 = 0; exit.
func bpf([]string) finding {
	program := []uint64{0xb7, 0x95}
	license := []byte("GPL\x00")
	attr := make([]byte, 128)
	binary.NativeEndian.PutUint32(attr, 2) // a kprobe's: a socket filter needs no rights where sysctls are lax
	binary.NativeEndian.PutUint32(attr[4:], uint32(len(program)))
	binary.NativeEndian.PutUint64(attr[8:], uint64(uintptr(unsafe.Pointer(&program[0]))))
	binary.NativeEndian.PutUint64(attr[16:], uint64(uintptr(unsafe.Pointer(&license[0]))))
	_, _, e := unix.Syscall(unix.SYS_BPF, 5 /* BPF_PROG_LOAD */, uintptr(unsafe.Pointer(&attr[0])), uintptr(len(attr)))
	return called("bpf", errnoOf(e))
}

func perf([]string) finding {
	attr := unix.PerfEventAttr{Type: unix.PERF_TYPE_SOFTWARE, Config: unix.PERF_COUNT_SW_CPU_CLOCK}
	attr.Size = uint32(unsafe.Sizeof(attr))
	_, err := unix.PerfEventOpen(&attr, -1, 0, -1, unix.PERF_FLAG_FD_CLOEXEC) // of all processes
	return called("perf_event_open", err)
}

func ioUring([]string) finding {
	var params [120]byte
	_, _, e := unix.Syscall(unix.SYS_IO_URING_SETUP, 1, uintptr(unsafe.Pointer(&params[0])), 0)
	return called("io_uring_setup", errnoOf(e))
}

func userfaultfd([]string) finding {
	_, _, e := unix.Syscall(unix.SYS_USERFAULTFD, unix.O_CLOEXEC, 0, 0)
	return called("userfaultfd", errnoOf(e))
}

func fanotify([]string) finding {
	_, err := unix.FanotifyInit(unix.FAN_CLASS_CONTENT, unix.O_RDONLY)
	return called("fanotify_init", err)
}

// keyring looks for a key that the test gave to the host's user: args are its name and serial.
func keyring(args []string) finding {
	if id, err := unix.RequestKey("user", args[0], "", 0); err == nil {
		return saw(escaped, "found the host's key %d", id)
	} else if !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.ENOKEY) {
		return called("request_key", err)
	}
	_, err := unix.KeyctlInt(unix.KEYCTL_GET_KEYRING_ID, unix.KEY_SPEC_USER_KEYRING, 0, 0, 0)
	return called("keyctl", err)
}

// withKey is no attack: it gives its session a keyring with the key args[0], and becomes the program args[1:].
func withKey(args []string) finding {
	_, err := unix.KeyctlInt(unix.KEYCTL_JOIN_SESSION_KEYRING, 0, 0, 0, 0)
	if err == nil {
		_, err = unix.AddKey("user", args[0], []byte("secret"), unix.KEY_SPEC_SESSION_KEYRING)
	}
	if err == nil {
		err = unix.Exec(args[1], args[1:], os.Environ())
	}
	return saw(untried, "%v", err)
}

// sessionKey reads the key args[0] of whoever started the container.
func sessionKey(args []string) finding {
	id, err := unix.RequestKey("user", args[0], "", 0)
	if err != nil {
		return saw(held, "request_key: %v", err)
	}
	var secret [100]byte
	n, err := unix.KeyctlBuffer(unix.KEYCTL_READ, id, secret[:], 0)
	if err != nil {
		return saw(held, "read the key: %v", err)
	}
	return saw(escaped, "the key says %q", secret[:n])
}

// handle opens files by handle, as the shocker exploit did: inode 2 is the root folder of most filesystems.
func handle([]string) finding {
	dir, err := unix.Open("/etc", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return saw(untried, "/etc: %v", err)
	}
	h := unix.NewFileHandle(1, []byte{2, 0, 0, 0, 0, 0, 0, 0})
	_, err = unix.OpenByHandleAt(dir, h, unix.O_RDONLY)
	return called("open_by_handle_at", err)
}

func vsock([]string) finding {
	fd, err := unix.Socket(40 /* AF_VSOCK */, unix.SOCK_STREAM, 0)
	if err == nil {
		unix.Close(fd)
	}
	if errors.Is(err, unix.EAFNOSUPPORT) {
		return saw(untried, "this kernel has no vsock")
	}
	return called("socket of AF_VSOCK", err)
}

func realtime([]string) finding {
	priority := int32(1)
	_, _, e := unix.Syscall(unix.SYS_SCHED_SETSCHEDULER, 0, 1 /* SCHED_FIFO */, uintptr(unsafe.Pointer(&priority)))
	return called("sched_setscheduler", errnoOf(e))
}

func setns([]string) finding {
	for _, name := range []string{"mnt", "net", "user", "pid"} {
		fd, err := unix.Open("/proc/1/ns/"+name, unix.O_RDONLY, 0)
		if err != nil {
			continue
		}
		if err := unix.Setns(fd, 0); err == nil {
			return saw(escaped, "entered the %s namespace of process 1", name)
		}
	}
	return saw(held, "no namespace can be entered")
}

// capabilities asks for every right there is.
func capabilities([]string) finding {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var has [2]unix.CapUserData
	if err := unix.Capget(&header, &has[0]); err != nil {
		return called("capget", err)
	}
	admin := uint32(1) << unix.CAP_SYS_ADMIN
	if has[0].Permitted&admin != 0 {
		return saw(escaped, "has CAP_SYS_ADMIN")
	}
	for bit := range 41 {
		has[bit/32].Effective |= 1 << (bit % 32)
		has[bit/32].Permitted |= 1 << (bit % 32)
	}
	return called("capset", unix.Capset(&header, &has[0]))
}

func unshareUser([]string) finding {
	_, _, e := unix.RawSyscall(unix.SYS_UNSHARE, unix.CLONE_NEWUSER|unix.CLONE_NEWCGROUP, 0, 0)
	if e == unix.EINVAL {
		// A Go program has threads, and only a process of one may change its user namespace: it was let through to there.
		return saw(escaped, "unshare of the user namespace got past the permission check")
	}
	return called("unshare of the user namespace", errnoOf(e))
}

// x32 makes a system call by its number in the x32 ABI, which a filter could have forgotten.
func x32([]string) finding {
	if runtime.GOARCH != "amd64" {
		return saw(untried, "there is no x32 here")
	}
	_, _, e := unix.RawSyscall(0x40000000|unix.SYS_UNSHARE, unix.CLONE_NEWUTS, 0, 0)
	return called("unshare through x32", errnoOf(e))
}

// cloneUser starts a program in a user namespace, where it would have every capability.
func cloneUser([]string) finding {
	return called("clone of a user namespace", runIn(unix.CLONE_NEWUSER, "hold", "0"))
}

// clone3User does so by clone3, whose flags a filter cannot read.
func clone3User([]string) finding {
	args := struct{ flags, pidFD, child, parent, signal, stack, size, tls uint64 }{flags: unix.CLONE_NEWUSER, signal: uint64(syscall.SIGCHLD)}
	pid, _, e := unix.RawSyscall(unix.SYS_CLONE3, uintptr(unsafe.Pointer(&args)), unsafe.Sizeof(args), 0)
	if e == 0 && pid == 0 {
		_, _, _ = unix.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0) // does not return
	}
	if e == unix.ENOSYS {
		return saw(held, "clone3: seccomp says that there is none, so that programs use clone")
	}
	return called("clone3 of a user namespace", errnoOf(e))
}

// netfilter makes the kernel's packet filter one's own in a user and network namespace: the way of most exploits of
// the last years.
func netfilter([]string) finding {
	return called("a network namespace of its own", runIn(unix.CLONE_NEWUSER|unix.CLONE_NEWNET, "hold", "0"))
}

// runIn runs this program in new namespaces, as root of them.
func runIn(flags uintptr, args ...string) error {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags}
	if flags&unix.CLONE_NEWUSER != 0 {
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}}
	}
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return nil // it ran
	}
	return err
}

// setuid runs a setuid root program as an ordinary user. args[0] says that we are it.
func setuid(args []string) finding {
	if len(args) > 0 {
		return judgeRoot("a setuid program of the image")
	}
	const path = "/suid-attacker" // made by the test's image, mode 4755
	out, err := asUser(path, "setuid", "inside")
	if err != nil && out == "" {
		return called("run "+path, err)
	}
	if strings.HasPrefix(out, "escaped") {
		return saw(escaped, "%s", strings.TrimSpace(out))
	}
	return saw(held, "%s", strings.TrimSpace(out))
}

// suidHost runs a setuid program that a container left in a folder of the host, as a local user would who knows where.
func suidHost(args []string) finding {
	out, err := asUser(args[0], "setuid", "inside")
	if strings.HasPrefix(out, "escaped") {
		return saw(escaped, "%s", strings.TrimSpace(out))
	}
	return saw(held, "run %s: %v %s", args[0], err, strings.TrimSpace(out))
}

func asUser(path string, args ...string) (string, error) {
	cmd := exec.Command(path, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 1000, Gid: 1000}}
	out, err := cmd.Output()
	return string(out), err
}

// judgeRoot says whether we are root, and whose.
func judgeRoot(by string) finding {
	if unix.Geteuid() != 0 {
		return saw(held, "%s gives user id %d", by, unix.Geteuid())
	}
	if f := rootOutside(nil); f.verdict == escaped {
		return saw(escaped, "%s gives root, the host's", by)
	}
	return saw(escaped, "%s gives root inside", by)
}

// rootOutside asks whether user 0 is the host's.
func rootOutside([]string) finding {
	text, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		return called("read of uid_map", err)
	}
	f := strings.Fields(string(text))
	if len(f) >= 3 && f[0] == "0" && f[1] == "0" {
		return saw(escaped, "root inside is root outside")
	}
	return saw(held, "root is user %s outside", f[1])
}

// asOther opens a file of the host as an ordinary local user would.
func asOther(args []string) finding {
	if len(args) == 1 {
		out, err := asUser("/proc/self/exe", "as-user", args[0], "now")
		return finding{map[bool]verdict{true: escaped, false: held}[strings.HasPrefix(out, "escaped")], strings.TrimSpace(out) + " " + fmt.Sprint(err)}
	}
	f, err := os.Open(args[0])
	if err != nil {
		return saw(held, "%v", err)
	}
	defer f.Close()
	return saw(escaped, "user %d opened %s", os.Getuid(), args[0])
}
