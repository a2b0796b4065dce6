package bare

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// The fields of a line of /etc/passwd that count, and how many there are (passwd(5)).
const (
	passwdUID    = 2
	passwdHome   = 5
	passwdFields = 7
)

const home = "HOME="

// addHome adds HOME as the container's /etc/passwd says, when the environment lacks it.
//
//go:nosplit
//go:norace
func (m *Machine) addHome() {
	if m.envText(home).N >= 0 {
		return
	}
	for i := 0; i < len(home); i++ {
		m.setLinkByte(i, home[i])
	}
	m.setLinkByte(len(home), '/')
	m.setLinkByte(len(home)+1, 0)
	m.findHome()
	env := &m.Op.Env
	m.Reader.SetText(*env, env.N, m.linkFrom(0))
	m.Reader.SetText(*env, env.N+1, 0)
}

// findHome puts the user's home behind HOME= in link, if /etc/passwd has one that is an absolute path.
//
//go:nosplit
//go:norace
func (m *Machine) findHome() {
	fd, err := openAt(unix.AT_FDCWD, lit("/etc/passwd\x00"), unix.O_RDONLY|unix.O_NONBLOCK)
	if err != 0 {
		return
	}
	uid, _, _ := syscall.RawSyscall6(unix.SYS_GETUID, 0, 0, 0, 0, 0, 0)
	l := passwdLine{uid: uint64(uid)}
	for {
		n, _, err := syscall.RawSyscall6(unix.SYS_READ, uintptr(fd), m.walkFrom(0), uintptr(len(m.walk)), 0, 0, 0)
		if err == unix.EINTR {
			continue
		}
		if err != 0 || n == 0 {
			n = 1
			m.setWalkByte(0, '\n') // the last line may lack it
			m.readPasswd(&l, 1)
			break
		}
		if m.readPasswd(&l, int(n)) {
			break
		}
	}
	if !l.found {
		m.setLinkByte(len(home), '/')
		m.setLinkByte(len(home)+1, 0)
	}
	closeFD(fd)
}

// passwdLine is how far a line of /etc/passwd has been read.
type passwdLine struct {
	uid, number uint64
	field       int
	digits      int  // of the uid
	other       bool // no line that counts
	length      int  // of the home, which stands in link
	found       bool
}

// readPasswd reads n bytes of walk; true when the user's home was found.
//
//go:nosplit
//go:norace
func (m *Machine) readPasswd(l *passwdLine, n int) bool {
	for i := 0; i < n; i++ {
		c := m.walkByte(i)
		switch {
		case c == '\n':
			if l.field == passwdFields-1 && !l.other && l.digits > 0 && l.number == l.uid && l.length > 0 && m.linkByte(len(home)) == '/' {
				m.setLinkByte(len(home)+l.length, 0)
				l.found = true
				return true
			}
			l.number, l.field, l.digits, l.other, l.length = 0, 0, 0, false, 0
		case c == ':':
			l.field++
		case l.field == passwdUID:
			l.other = l.other || c < '0' || c > '9' || l.digits > 9 || l.digits == 1 && l.number == 0
			l.number = l.number*10 + uint64(c-'0')
			l.digits++
		case l.field == passwdHome && (c == 0 || len(home)+l.length == len(m.link)-1):
			l.other = true
		case l.field == passwdHome:
			m.setLinkByte(len(home)+l.length, c)
			l.length++
		}
	}
	return false
}
