package bare

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"naru/engine/sandbox/program"
)

// openConsole opens a terminal of the container's own devpts.
//
//go:nosplit
//go:norace
func (m *Machine) openConsole() (err syscall.Errno) {
	m.aboutText("/dev/pts/ptmx\x00")
	if m.root < 0 { // who enters a container has its root
		if m.root, err = openAt(unix.AT_FDCWD, lit("/\x00"), dirFlags); err != 0 {
			return err
		}
	}
	if m.master, err = m.open(lit("/dev/pts/ptmx\x00"), unix.O_RDWR|unix.O_NOCTTY); err != 0 {
		return err
	}
	m.slave, err = m.openPeer(m.master)
	return err
}

//go:nosplit
//go:norace
func (m *Machine) openPeer(master int) (int, syscall.Errno) {
	m.word = 0
	if err := errno3(unix.SYS_IOCTL, uintptr(master), unix.TIOCSPTLCK, uintptr(unsafe.Pointer(&m.word))); err != 0 {
		return -1, err
	}
	fd, _, err := syscall.RawSyscall6(unix.SYS_IOCTL, uintptr(master), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0, 0, 0)
	return int(fd), err
}

// bindConsole puts the terminal where programs look for a console.
//
//go:nosplit
//go:norace
func (m *Machine) bindConsole() syscall.Errno {
	if m.Op.Path.N == 0 {
		return 0
	}
	m.aboutOp(m.Op.Path)
	target, err := m.openFile(m.Op.Path)
	if err != 0 {
		return err
	}
	err = cloneOnto(m.slave, target)
	closeFD(target)
	return err
}

// takeConsole gives the terminal its size, sends the master to the daemon, and makes the other side the controlling
// terminal and 0, 1, 2.
//
//go:nosplit
//go:norace
func (m *Machine) takeConsole() syscall.Errno {
	m.window.Row, m.window.Col = uint16(m.Reader.Arg(&m.Op, 0)), uint16(m.Reader.Arg(&m.Op, 1))
	if m.window.Row != 0 || m.window.Col != 0 {
		m.aboutText("size of the terminal\x00")
		if err := errno3(unix.SYS_IOCTL, uintptr(m.master), unix.TIOCSWINSZ, uintptr(unsafe.Pointer(&m.window))); err != 0 {
			return err
		}
	}
	m.aboutText("send the terminal\x00")
	m.message.head[0] = program.MsgConsole
	if err := m.SendFD(m.Sock, m.master, uintptr(unsafe.Pointer(&m.message.head)), 1); err != 0 {
		return err
	}
	closeFD(m.master)
	return m.takeTerminal(m.slave)
}

//go:nosplit
//go:norace
func (m *Machine) takeTerminal(slave int) syscall.Errno {
	syscall.RawSyscall6(unix.SYS_SETSID, 0, 0, 0, 0, 0, 0) // fails when it leads a session already, which is as good
	m.aboutText("controlling terminal\x00")
	if err := errno3(unix.SYS_IOCTL, uintptr(slave), unix.TIOCSCTTY, 0); err != 0 {
		return err
	}
	m.aboutText("terminal\x00")
	for fd := uintptr(0); fd < 3; fd++ {
		if err := errno3(unix.SYS_DUP3, uintptr(slave), fd, 0); err != 0 {
			return err
		}
	}
	return 0
}
