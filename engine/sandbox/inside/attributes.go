package inside

import (
	"errors"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"naru/engine/sandbox/program"
)

// executeAttributes runs an operation about the place of the process among others on the machine.
func (m *machine) executeAttributes(o *program.Op) error {
	switch o.Kind {
	case program.Clocks:
		return unshareClocks(o)
	case program.Label:
		return m.label(o)
	case program.Personality:
		return setPersonality(o)
	case program.Scheduler:
		return setScheduler(o)
	case program.IOPriority:
		return setIOPriority(o)
	case program.Affinity:
		return setAffinity(o)
	case program.MemoryPolicy:
		return setMemoryPolicy(o)
	case program.Keyring:
		return joinKeyring()
	}
	return fail(o.Kind.String(), unix.ENOSYS)
}

// unshareClocks makes a time namespace for those who are executed from now on: this process moves into it with exec.
func unshareClocks(o *program.Op) error {
	if err := unix.Unshare(unix.CLONE_NEWTIME); err != nil {
		return fail("time namespace", err)
	}
	fd, err := unix.Open("/proc/self/timens_offsets", unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fail("time namespace", err)
	}
	defer unix.Close(fd)
	if o.Data == "" {
		return nil
	}
	_, err = unix.Write(fd, []byte(o.Data))
	return fail(o.Data, err)
}

// label writes what exec is to do into the kernel's own file: a /proc that is none, or that something is mounted in,
// would only pretend (CVE-2019-16884).
func (m *machine) label(o *program.Op) error {
	proc, err := unix.Open("/proc", unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return fail("/proc", err)
	}
	defer unix.Close(proc)
	return fail(o.Data, writeProc(proc, "thread-self/attr/"+o.Path, unix.RESOLVE_NO_MAGICLINKS, o.Data))
}

func setPersonality(o *program.Op) error {
	if _, _, errno := syscall.RawSyscall(unix.SYS_PERSONALITY, uintptr(o.Flags), 0, 0); errno != 0 {
		return fail("", errno)
	}
	return nil
}

func setScheduler(o *program.Op) error {
	a := o.Args
	return fail("", unix.SchedSetAttr(0, &unix.SchedAttr{
		Size: unix.SizeofSchedAttr, Policy: uint32(a[0]), Flags: a[1], Nice: int32(a[2]), Priority: uint32(a[3]),
		Runtime: a[4], Deadline: a[5], Period: a[6],
	}, 0))
}

func setIOPriority(o *program.Op) error {
	const whoProcess = 1
	if _, _, errno := syscall.RawSyscall(unix.SYS_IOPRIO_SET, whoProcess, 0, uintptr(o.Flags)); errno != 0 {
		return fail("", errno)
	}
	return nil
}

func setAffinity(o *program.Op) error {
	size := uintptr(len(o.Args)) * 8
	if _, _, errno := syscall.RawSyscall(unix.SYS_SCHED_SETAFFINITY, 0, size, uintptr(unsafe.Pointer(&o.Args[0]))); errno != 0 {
		return fail("", errno)
	}
	return nil
}

// setMemoryPolicy counts one bit more than there are: the kernel takes one off.
func setMemoryPolicy(o *program.Op) error {
	nodes := append(o.Args[:len(o.Args):len(o.Args)], 0)
	_, _, errno := syscall.RawSyscall(unix.SYS_SET_MEMPOLICY, uintptr(o.Flags), uintptr(unsafe.Pointer(&nodes[0])), uintptr(64*len(o.Args)+1))
	if errno != 0 {
		return fail("", errno)
	}
	return nil
}

// joinKeyring leaves the session keyring of whoever started the container, with the keys of theirs. A kernel without keys has
// none to leave.
func joinKeyring() error {
	_, err := unix.KeyctlInt(unix.KEYCTL_JOIN_SESSION_KEYRING, 0, 0, 0, 0)
	if errors.Is(err, unix.ENOSYS) {
		return nil
	}
	return fail("", err)
}
