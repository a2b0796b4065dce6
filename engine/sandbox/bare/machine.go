// Package bare executes a program's operations with nothing but raw system calls over memory that was laid out before:
// it allocates nothing, stores no pointers, grows no stack and calls nothing of the Go runtime. So a container can be
// made ready between fork and exec, by the very process that becomes it (package fork), as well as by an init of its own,
// for the operations that take more (package inside).
package bare

import (
	"slices"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"naru/engine/sandbox/program"
)

// Everything here is marked nosplit, which the linker checks: what it calls, down to the system call, takes a few hundred
// bytes of stack together. Large values are fields of Machine for that reason, and so that their addresses may be given to
// the kernel. Constant strings end with a NUL, and are read-only memory.

// Machine executes one program.
type Machine struct {
	Reader program.Reader
	Op     program.View
	Sock   int // to the daemon
	exe    int // the init's binary, for the reaper; -1: none
	root   int // the container's root; -1: not opened yet
	null   int // the host's /dev/null; -1: it has none
	empty  int // the folder that masks others; -1: there is none yet
	master int // of a console, and its other side
	slave  int
	files  []int32
	filled int // of files

	about [3]vector // what an error is about, in memory

	walk  [unix.PathMax]byte // the path that is being made or tried
	link  [unix.PathMax]byte
	name  [unix.NAME_MAX + 1]byte
	proc  [32]byte // /proc/self/fd/N
	how   unix.OpenHow
	attr  unix.MountAttr
	stat  unix.Statx_t
	fs    unix.Statfs_t
	limit [2]unix.Rlimit
	fprog struct {
		n      uint16
		filter uintptr
	}
	capHeader unix.CapUserHeader
	capData   [2]unix.CapUserData
	sched     unix.SchedAttr
	window    unix.Winsize
	word      int32
	message   message
}

// New makes a machine that talks on the socket sock and has room for so many descriptors and such a program. exe is the
// init's binary, or -1.
func New(sock, exe, files, size, room int) *Machine {
	return &Machine{Reader: program.NewReader(size, room), Sock: sock, exe: exe, root: -1, null: -1, empty: -1, files: make([]int32, files)}
}

// What a program may take at most that is executed between fork and exec, where there is no more memory than was made
// ready: descriptors, bytes, and words of lists.
const (
	MaxFiles = 256
	MaxSize  = 32 << 10
	MaxRoom  = 2 << 10
)

// Fits says whether a program with so many descriptors, bytes and words of lists can be executed between fork and exec.
func Fits(ops []program.Op, files, size, room int) bool {
	unable := func(o program.Op) bool { return !Can(o.Kind) }
	return files <= MaxFiles && size <= MaxSize && room <= MaxRoom && !slices.ContainsFunc(ops, unable)
}

// Can says whether the kind is one of those that Execute knows.
func Can(k program.Kind) bool {
	switch k {
	case program.Hook, program.Gate, program.Find, program.CopyUp, program.Notify:
		return false
	}
	return true
}

// Main receives a program, executes it and so becomes the user's process. It returns only when that failed, which it has
// told the daemon.
//
//go:nosplit
//go:norace
func (m *Machine) Main() {
	if m.Begin() && m.receive() {
		m.run()
	}
}

// Begin makes this process safe from its neighbours: they cannot look into it, and what it has open ends with exec. It
// returns false when it could not, which it has told.
//
//go:nosplit
//go:norace
func (m *Machine) Begin() bool {
	m.aboutText("become undumpable\x00")
	err := errno3(unix.SYS_PRCTL, unix.PR_SET_DUMPABLE, 0, 0)
	if err == 0 {
		m.aboutText("close_range\x00")
		err = errno3(unix.SYS_CLOSE_RANGE, program.SocketFD, 1<<31-1, unix.CLOSE_RANGE_CLOEXEC)
	}
	if err != 0 {
		m.Fail(err)
		return false
	}
	syscall.RawSyscall6(unix.SYS_UMASK, 0, 0, 0, 0, 0, 0)
	return true
}

//go:nosplit
//go:norace
func (m *Machine) run() {
	for m.Reader.Next(&m.Op) {
		if err := m.Execute(); err != 0 {
			m.Fail(err)
			return
		}
	}
	m.Op.Kind = 0
	m.aboutText("the program\x00")
	m.Fail(unix.EINVAL)
}

// Execute runs the operation Op. What an error is about is told by Fail.
//
//go:nosplit
//go:norace
func (m *Machine) Execute() syscall.Errno {
	m.aboutText("\x00")
	switch m.Op.Kind {
	case program.Layers:
		return m.layers()
	case program.Attach:
		return m.attach()
	case program.Overlay:
		return m.overlay()
	case program.Root:
		return m.openRoot()
	case program.Mount:
		return m.mount()
	case program.Bind:
		return m.bind()
	case program.Mkdir:
		return m.mkdir()
	case program.Symlink:
		return m.symlink()
	case program.Mknod:
		return m.mknod()
	case program.Mask:
		return m.mask()
	case program.ReadOnly:
		return m.readOnly()
	case program.Sysctl:
		return m.sysctl()
	case program.Propagate:
		return m.propagate()
	case program.Pivot:
		return m.pivot()
	case program.Console: // in steps, each of which takes most of the stack
		if err := m.openConsole(); err != 0 {
			return err
		}
		if err := m.bindConsole(); err != 0 {
			return err
		}
		return m.takeConsole()
	case program.Await:
		return m.Await()
	case program.Sync:
		return m.sync()
	case program.Keep:
		return m.keep()
	case program.Exec:
		return m.exec()
	case program.Reap:
		return m.reap()
	}
	return m.executeProcess()
}

// executeProcess runs an operation that is about the process, not about its files.
//
//go:nosplit
//go:norace
func (m *Machine) executeProcess() syscall.Errno {
	switch m.Op.Kind {
	case program.Hostname, program.Domainname:
		return m.setName()
	case program.Rlimit:
		return m.setRlimit()
	case program.NoNewPrivs:
		return errno3(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0)
	case program.Seccomp:
		_, err := m.Seccomp()
		return err
	case program.Bounding:
		return m.dropBounding()
	case program.User:
		return m.setUser()
	case program.Caps:
		return m.setCaps()
	case program.Cwd:
		return m.enterCwd()
	case program.Clocks:
		return m.unshareClocks()
	case program.Label:
		return m.label()
	case program.Personality:
		return errno3(unix.SYS_PERSONALITY, uintptr(m.Op.Flags), 0, 0)
	case program.Scheduler:
		return m.setScheduler()
	case program.IOPriority:
		const whoProcess = 1
		return errno3(unix.SYS_IOPRIO_SET, whoProcess, 0, uintptr(m.Op.Flags))
	case program.Affinity:
		return errno3(unix.SYS_SCHED_SETAFFINITY, 0, uintptr(m.Op.Args)*8, m.Reader.Args())
	case program.MemoryPolicy: // the kernel takes one bit off: there is a word of zeros behind
		return errno3(unix.SYS_SET_MEMPOLICY, uintptr(m.Op.Flags), m.Reader.Args(), uintptr(64*m.Op.Args+1))
	case program.Keyring:
		return joinKeyring()
	case program.Enter:
		return m.enter()
	case program.CgroupNamespace:
		return errno3(unix.SYS_UNSHARE, unix.CLONE_NEWCGROUP, 0, 0)
	}
	return unix.ENOSYS
}

// errno3 is a system call of up to three arguments of which only the error counts.
//
//go:nosplit
//go:norace
func errno3(number, a, b, c uintptr) syscall.Errno {
	_, _, err := syscall.RawSyscall6(number, a, b, c, 0, 0, 0)
	return err
}

// lit is the address of a constant string, which must end with a NUL.
//
//go:nosplit
//go:norace
func lit(s string) uintptr { return uintptr(unsafe.Pointer(unsafe.StringData(s))) }

// aboutText says that an error would be about a constant, which ends with a NUL.
//
//go:nosplit
//go:norace
func (m *Machine) aboutText(s string) {
	m.about = [3]vector{{lit(s), uintptr(len(s) - 1)}}
}

// aboutOp says that an error would be about a field of the operation.
//
//go:nosplit
//go:norace
func (m *Machine) aboutOp(t program.Text) {
	m.about = [3]vector{{m.Reader.Address(t), uintptr(t.N)}}
}

// aboutValue adds what was to be set there.
//
//go:nosplit
//go:norace
func (m *Machine) aboutValue(t program.Text) {
	const is = " = "
	m.about[1], m.about[2] = vector{lit(is), uintptr(len(is))}, vector{m.Reader.Address(t), uintptr(t.N)}
}

//go:nosplit
//go:norace
func closeFD(fd int) { syscall.RawSyscall6(unix.SYS_CLOSE, uintptr(fd), 0, 0, 0, 0, 0) }

// File takes the descriptor that the operation names out of those that came along.
//
//go:nosplit
//go:norace
func (m *Machine) File() (int, syscall.Errno) {
	if m.Op.FD >= m.filled {
		return -1, unix.EBADF
	}
	return int(*(*int32)(unsafe.Add(unsafe.Pointer(unsafe.SliceData(m.files)), m.Op.FD*4))), 0
}
