package bare

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"naru/engine/sandbox/program"
)

const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\x00"

// exec becomes the user's process. Ready is said before it, as exec closes the socket when it succeeds; a failure after
// Ready takes it back.
//
//go:nosplit
//go:norace
func (m *Machine) exec() syscall.Errno {
	m.addHome()
	name := m.Reader.TextAt(m.Op.List, 0)
	m.aboutOp(name)
	if err := m.Say(program.MsgReady); err != 0 {
		return err
	}
	for i := 0; i < name.N; i++ {
		if m.Reader.Byte(name, i) == '/' {
			return m.execve(m.Reader.Address(name))
		}
	}
	if path := m.envText("PATH="); path.N >= 0 {
		return m.tryEach((*byte)(m.Reader.Pointer(path)), name)
	}
	return m.tryEach(unsafe.StringData(defaultPath), name)
}

// tryEach tries a program's places, like execvp: a place without it is passed over, and of the other errors the first is
// told.
//
//go:nosplit
//go:norace
func (m *Machine) tryEach(path *byte, name program.Text) syscall.Errno {
	first := syscall.Errno(unix.ENOENT)
	for i := 0; ; i++ {
		n := 0
		for ; byteAt(path, i) != ':' && byteAt(path, i) != 0; i++ {
			if n < len(m.walk) {
				m.setWalkByte(n, byteAt(path, i))
			}
			n++
		}
		if n == 0 {
			m.setWalkByte(0, '.')
			n = 1
		}
		err := m.tryIn(n, name)
		if !missing(err) && first == unix.ENOENT {
			first = err
		}
		if byteAt(path, i) == 0 {
			return first
		}
	}
}

// tryIn tries the program in the folder that the first n bytes of walk name.
//
//go:nosplit
//go:norace
func (m *Machine) tryIn(n int, name program.Text) syscall.Errno {
	if n+1+name.N >= len(m.walk) {
		return unix.ENAMETOOLONG
	}
	m.setWalkByte(n, '/')
	for i := 0; i <= name.N; i++ {
		m.setWalkByte(n+1+i, m.Reader.Byte(name, i))
	}
	return m.execve(m.walkFrom(0))
}

//go:nosplit
//go:norace
func (m *Machine) execve(file uintptr) syscall.Errno {
	return errno3(unix.SYS_EXECVE, file, m.Reader.Texts(m.Op.List, 0), m.Reader.Texts(m.Op.Env, 0))
}

//go:nosplit
//go:norace
func byteAt(p *byte, i int) byte { return *(*byte)(unsafe.Add(unsafe.Pointer(p), i)) }

// reap executes the init's binary as a reaper: with the user's identity, capabilities and seccomp filter, like any init
// that an image could bring along.
//
//go:nosplit
//go:norace
func (m *Machine) reap() syscall.Errno {
	m.addHome()
	m.aboutText("the reaper\x00")
	if err := errno3(unix.SYS_FCNTL, uintptr(m.Sock), unix.F_SETFD, 0); err != 0 {
		return err
	}
	m.Reader.SetText(m.Op.List, -1, lit(program.ReapName+"\x00"))
	_, _, err := syscall.RawSyscall6(unix.SYS_EXECVEAT, uintptr(m.exe), lit("\x00"), m.Reader.Texts(m.Op.List, -1),
		m.Reader.Texts(m.Op.Env, 0), unix.AT_EMPTY_PATH, 0)
	return err
}

// keep moves the descriptors beside the socket one down, to where the program expects them.
//
//go:nosplit
//go:norace
func (m *Machine) keep() syscall.Errno {
	m.aboutText("keep a descriptor\x00")
	n := uintptr(m.Op.Flags)
	sock, _, err := syscall.RawSyscall6(unix.SYS_FCNTL, uintptr(m.Sock), unix.F_DUPFD_CLOEXEC, program.SocketFD+n+1, 0, 0, 0)
	if err != 0 {
		return err
	}
	closeFD(m.Sock)
	m.Sock = int(sock)
	for i := uintptr(0); i < n; i++ {
		if err := errno3(unix.SYS_DUP3, program.SocketFD+1+i, program.SocketFD+i, 0); err != 0 {
			return err
		}
	}
	return 0
}

// envText finds a variable's value by its NAME=; one of a negative length when there is none.
//
//go:nosplit
//go:norace
func (m *Machine) envText(name string) program.Text {
	for i := 0; i < m.Op.Env.N; i++ {
		t := m.Reader.TextAt(m.Op.Env, i)
		k := 0
		for k < len(name) && m.Reader.Byte(t, k) == byteAt(unsafe.StringData(name), k) {
			k++
		}
		if k == len(name) {
			return program.Text{At: t.At + k, N: t.N - k}
		}
	}
	return program.Text{N: -1}
}
