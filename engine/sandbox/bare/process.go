package bare

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"naru/engine/sandbox/program"
)

// enter writes "0" into a tasks file. A thread that moves itself is the one case in which cgroup v1 does not wait for an RCU
// grace period (about 10 ms when nobody moved a process lately).
//
//go:nosplit
//go:norace
func (m *Machine) enter() syscall.Errno {
	tasks, err := m.File()
	if err != 0 {
		return err
	}
	err = errno3(unix.SYS_WRITE, uintptr(tasks), lit("0\x00"), 1)
	closeFD(tasks)
	return err
}

//go:nosplit
//go:norace
func (m *Machine) setName() syscall.Errno {
	m.aboutOp(m.Op.Data)
	if m.Op.Kind == program.Hostname {
		return errno3(unix.SYS_SETHOSTNAME, m.Reader.Address(m.Op.Data), uintptr(m.Op.Data.N), 0)
	}
	return errno3(unix.SYS_SETDOMAINNAME, m.Reader.Address(m.Op.Data), uintptr(m.Op.Data.N), 0)
}

//go:nosplit
//go:norace
func (m *Machine) setRlimit() syscall.Errno {
	m.aboutOp(m.Op.Data)
	has, wants := &m.limit[0], &m.limit[1]
	resource := uintptr(m.Reader.Arg(&m.Op, 0))
	wants.Cur, wants.Max = m.Reader.Arg(&m.Op, 1), m.Reader.Arg(&m.Op, 2)
	if m.Op.Args == 2 {
		_, _, err := syscall.RawSyscall6(unix.SYS_PRLIMIT64, 0, resource, 0, uintptr(unsafe.Pointer(has)), 0, 0)
		if err != 0 {
			return err
		}
		wants.Max = has.Max
		if wants.Cur > has.Max {
			wants.Cur = has.Max
		}
	}
	return errno3(unix.SYS_PRLIMIT64, 0, resource, uintptr(unsafe.Pointer(wants)))
}

// Seccomp loads a filter, and returns the descriptor of its notifications when its flags ask for one.
//
//go:nosplit
//go:norace
func (m *Machine) Seccomp() (int, syscall.Errno) {
	const size = int(unsafe.Sizeof(unix.SockFilter{}))
	m.aboutText("filter\x00")
	if m.Op.Bytes.N == 0 || m.Op.Bytes.N%size != 0 {
		return -1, unix.EINVAL
	}
	m.fprog.n, m.fprog.filter = uint16(m.Op.Bytes.N/size), m.Reader.Address(m.Op.Bytes)
	fd, _, err := syscall.RawSyscall6(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, uintptr(m.Op.Flags), uintptr(unsafe.Pointer(&m.fprog)), 0, 0, 0)
	return int(fd), err
}

//go:nosplit
//go:norace
func prctl(option, a, b uintptr) syscall.Errno {
	_, _, err := syscall.RawSyscall6(unix.SYS_PRCTL, option, a, b, 0, 0, 0)
	return err
}

//go:nosplit
//go:norace
func (m *Machine) dropBounding() syscall.Errno {
	m.aboutText("bounding set\x00")
	keep := m.Reader.Arg(&m.Op, 0)
	for c := uintptr(0); c < 64; c++ {
		if keep&(1<<c) != 0 {
			continue
		}
		err := prctl(unix.PR_CAPBSET_DROP, c, 0)
		if err == unix.EINVAL && c > 0 {
			return 0 // above the kernel's last capability
		}
		if err != 0 {
			return err
		}
	}
	return 0
}

// setUser changes the ids of this thread. Capabilities are kept for setCaps; a death signal is armed again, since the
// kernel forgets it.
//
//go:nosplit
//go:norace
func (m *Machine) setUser() syscall.Errno {
	m.aboutText("death signal\x00")
	if err := prctl(unix.PR_GET_PDEATHSIG, uintptr(unsafe.Pointer(&m.word)), 0); err != 0 {
		return err
	}
	syscall.RawSyscall6(unix.SYS_UMASK, uintptr(m.Reader.Arg(&m.Op, 0)), 0, 0, 0, 0, 0)
	m.aboutText("keep capabilities\x00")
	if err := prctl(unix.PR_SET_KEEPCAPS, 1, 0); err != 0 {
		return err
	}
	if err := m.setIDs(); err != 0 {
		return err
	}
	m.aboutText("keep capabilities\x00")
	if err := prctl(unix.PR_SET_KEEPCAPS, 0, 0); err != 0 {
		return err
	}
	m.aboutText("death signal\x00")
	return prctl(unix.PR_SET_PDEATHSIG, uintptr(m.word), 0)
}

//go:nosplit
//go:norace
func (m *Machine) setIDs() syscall.Errno {
	const before = 3 // umask, uid, gid
	uid, gid, more := uintptr(m.Reader.Arg(&m.Op, 1)), uintptr(m.Reader.Arg(&m.Op, 2)), m.Op.Args-before
	m.aboutText("groups\x00")
	groups := m.Reader.Args()
	for i := 0; i < more; i++ { // in their own place, where each takes half of it
		m.Reader.SetHalf(i, uint32(m.Reader.Arg(&m.Op, before+i)))
	}
	// Where an ordinary user mapped the ids alone, the kernel lets nobody change groups: to want none is no error there.
	if err := errno3(unix.SYS_SETGROUPS, uintptr(more), groups, 0); err != 0 && (err != unix.EPERM || more > 0) {
		return err
	}
	m.aboutText("gid\x00")
	if err := errno3(unix.SYS_SETRESGID, gid, gid, gid); err != 0 {
		return err
	}
	m.aboutText("uid\x00")
	return errno3(unix.SYS_SETRESUID, uid, uid, uid)
}

//go:nosplit
//go:norace
func (m *Machine) setCaps() syscall.Errno {
	m.capHeader.Version = unix.LINUX_CAPABILITY_VERSION_3
	for i := 0; i < 2; i++ {
		d := &m.capData[i]
		d.Effective = uint32(m.Reader.Arg(&m.Op, 0) >> (32 * i))
		d.Permitted = uint32(m.Reader.Arg(&m.Op, 1) >> (32 * i))
		d.Inheritable = uint32(m.Reader.Arg(&m.Op, 2) >> (32 * i))
	}
	m.aboutText("capset\x00")
	if err := errno3(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&m.capHeader)), uintptr(unsafe.Pointer(&m.capData)), 0); err != 0 {
		return err
	}
	m.aboutText("ambient set\x00")
	if err := prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0); err != 0 {
		return err
	}
	ambient := m.Reader.Arg(&m.Op, 3)
	for c := uintptr(0); c < 64; c++ {
		if ambient&(1<<c) == 0 {
			continue
		}
		if err := prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, c); err != 0 {
			return err
		}
	}
	return 0
}

// enterCwd enters the folder with the user's rights, and makes sure that it is one of the container's.
//
//go:nosplit
//go:norace
func (m *Machine) enterCwd() syscall.Errno {
	m.aboutOp(m.Op.Path)
	if err := errno3(unix.SYS_CHDIR, m.Reader.Address(m.Op.Path), 0, 0); err != 0 {
		return err
	}
	if err := errno3(unix.SYS_GETCWD, m.walkFrom(0), uintptr(len(m.walk)), 0); err != 0 {
		return err
	}
	if m.walkByte(0) != '/' {
		return unix.EXDEV // "(unreachable)": outside the root
	}
	return 0
}

// unshareClocks makes a time namespace for those who are executed from now on: this process moves into it with exec.
//
//go:nosplit
//go:norace
func (m *Machine) unshareClocks() syscall.Errno {
	m.aboutText("time namespace\x00")
	if err := errno3(unix.SYS_UNSHARE, unix.CLONE_NEWTIME, 0, 0); err != 0 {
		return err
	}
	fd, err := openAt(unix.AT_FDCWD, lit("/proc/self/timens_offsets\x00"), unix.O_WRONLY)
	if err != 0 {
		return err
	}
	if m.Op.Data.N > 0 {
		m.aboutOp(m.Op.Data)
		err = m.writeData(fd)
	}
	closeFD(fd)
	return err
}

// label writes what exec is to do into the kernel's own file: a /proc that is none, or that something is mounted in,
// would only pretend (CVE-2019-16884).
//
//go:nosplit
//go:norace
func (m *Machine) label() syscall.Errno {
	m.aboutText("/proc\x00")
	proc, err := openAt(unix.AT_FDCWD, lit("/proc\x00"), unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW)
	if err != 0 {
		return err
	}
	m.aboutOp(m.Op.Data)
	err = m.writeProc(proc, m.Reader.Address(m.Op.Path), unix.RESOLVE_NO_MAGICLINKS)
	closeFD(proc)
	return err
}

//go:nosplit
//go:norace
func (m *Machine) setScheduler() syscall.Errno {
	r, o := &m.Reader, &m.Op
	m.sched = unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: uint32(r.Arg(o, 0)), Flags: r.Arg(o, 1), Nice: int32(r.Arg(o, 2)),
		Priority: uint32(r.Arg(o, 3)), Runtime: r.Arg(o, 4), Deadline: r.Arg(o, 5), Period: r.Arg(o, 6)}
	return errno3(unix.SYS_SCHED_SETATTR, 0, uintptr(unsafe.Pointer(&m.sched)), 0)
}

// joinKeyring leaves the session keyring of whoever started the container, with the keys of theirs. A kernel without keys
// has none to leave.
//
//go:nosplit
//go:norace
func joinKeyring() syscall.Errno {
	err := errno3(unix.SYS_KEYCTL, unix.KEYCTL_JOIN_SESSION_KEYRING, 0, 0)
	if err == unix.ENOSYS {
		return 0
	}
	return err
}
