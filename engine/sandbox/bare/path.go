package bare

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"naru/engine/sandbox/program"
)

// within keeps a path walk in the container's root: ".." and absolute links end there, and the links of /proc that
// jump anywhere (/proc/self/cwd is the host's here) are refused.
const within = unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS

const dirFlags = unix.O_PATH | unix.O_DIRECTORY

// maxLinks is the kernel's limit of links in one path walk.
const maxLinks = 40

// open opens the path at p in the container's root.
//
//go:nosplit
//go:norace
func (m *Machine) open(p uintptr, flags uint64) (int, syscall.Errno) {
	m.how.Flags, m.how.Resolve = flags|unix.O_CLOEXEC, within
	for {
		fd, _, err := syscall.RawSyscall6(unix.SYS_OPENAT2, uintptr(m.root), p, uintptr(unsafe.Pointer(&m.how)), unsafe.Sizeof(m.how), 0, 0)
		// EAGAIN: a rename raced with the walk and the kernel cannot vouch for it.
		if err != unix.EAGAIN && err != unix.EINTR {
			return int(fd), err
		}
	}
}

//go:nosplit
//go:norace
func openAt(dir int, p, flags uintptr) (int, syscall.Errno) {
	fd, _, err := syscall.RawSyscall6(unix.SYS_OPENAT, uintptr(dir), p, flags|unix.O_CLOEXEC, 0o644, 0, 0)
	return int(fd), err
}

// openDir opens a folder, making it and its parents when they are missing.
//
//go:nosplit
//go:norace
func (m *Machine) openDir(t program.Text) (int, syscall.Errno) {
	if err := m.setWalk(t); err != 0 {
		return -1, err
	}
	return m.openWalk()
}

// OpenDir opens the folder Path, making it and its parents when they are missing.
func (m *Machine) OpenDir() (int, syscall.Errno) { return m.openDir(m.Op.Path) }

// openWalk is openDir for the path in walk, which is then what it led to.
//
//go:nosplit
//go:norace
func (m *Machine) openWalk() (int, syscall.Errno) {
	fd, err := m.open(m.walkFrom(0), dirFlags)
	if err != unix.ENOENT {
		return fd, err
	}
	for links := 0; ; links++ {
		fd, at, err := m.makeWalk()
		if err != unix.EEXIST {
			return fd, err
		}
		// A link that leads nowhere yet: what it leads to is made too (an image's /var/run may point to a /run that it
		// lacks).
		err = m.followWalk(fd, at)
		closeFD(fd)
		if err == 0 && links == maxLinks {
			err = unix.ELOOP
		}
		if err != 0 {
			return -1, err
		}
	}
}

// makeWalk opens the folders of walk one after the other, and makes those that are missing. At one that is there and that
// cannot be opened, it returns its parent, where its name begins, and EEXIST.
//
//go:nosplit
//go:norace
func (m *Machine) makeWalk() (dir, at int, err syscall.Errno) {
	if dir, err = m.open(lit("/\x00"), dirFlags); err != 0 {
		return -1, 0, err
	}
	for end := 0; ; {
		at = end
		for m.walkByte(at) == '/' {
			at++
		}
		if m.walkByte(at) == 0 {
			return dir, at, 0
		}
		for end = at; m.walkByte(end) != '/' && m.walkByte(end) != 0; {
			end++
		}
		cut := m.walkByte(end)
		m.setWalkByte(end, 0)
		next, err := m.open(m.walkFrom(0), dirFlags)
		if err == unix.ENOENT {
			made := errno3(unix.SYS_MKDIRAT, uintptr(dir), m.walkFrom(at), 0o755)
			if err = made; made == 0 || made == unix.EEXIST {
				if next, err = m.open(m.walkFrom(0), dirFlags); err == unix.ENOENT && made != 0 {
					err = made
				}
			}
		}
		m.setWalkByte(end, cut)
		if err == unix.EEXIST {
			return dir, at, err
		}
		closeFD(dir)
		if err != 0 {
			return -1, at, err
		}
		dir = next
	}
}

// followWalk puts what a link leads to into walk in its own place: its parent is dir, its name begins at at.
//
//go:nosplit
//go:norace
func (m *Machine) followWalk(dir, at int) syscall.Errno {
	end := at
	for m.walkByte(end) != '/' && m.walkByte(end) != 0 {
		end++
	}
	cut := m.walkByte(end)
	m.setWalkByte(end, 0)
	n, err := m.readLink(dir, m.walkFrom(at))
	m.setWalkByte(end, cut)
	if err != 0 {
		return err
	}
	for ; m.walkByte(end) != 0; end++ { // what came behind the link
		if n == len(m.link)-1 {
			return unix.ENAMETOOLONG
		}
		m.setLinkByte(n, m.walkByte(end))
		n++
	}
	m.setLinkByte(n, 0)
	return m.linkToWalk(at, n)
}

// linkToWalk replaces what walk has from at on, the whole of it by an absolute path.
//
//go:nosplit
//go:norace
func (m *Machine) linkToWalk(at, n int) syscall.Errno {
	if m.linkByte(0) == '/' {
		at = 0
	}
	if at+n > len(m.walk)-1 {
		return unix.ENAMETOOLONG
	}
	for i := 0; i <= n; i++ {
		m.setWalkByte(at+i, m.linkByte(i))
	}
	return 0
}

// readLink reads where a link leads into link; what is no link leads nowhere.
//
//go:nosplit
//go:norace
func (m *Machine) readLink(dir int, name uintptr) (int, syscall.Errno) {
	n, _, err := syscall.RawSyscall6(unix.SYS_READLINKAT, uintptr(dir), name, uintptr(unsafe.Pointer(&m.link)), uintptr(len(m.link)-1), 0, 0)
	if err != 0 {
		return 0, unix.ELOOP
	}
	return int(n), 0
}

// openFile opens a file, making it and its parents when they are missing, and what links lead to that lead nowhere yet,
// as an image's /etc/resolv.conf may.
//
//go:nosplit
//go:norace
func (m *Machine) openFile(t program.Text) (int, syscall.Errno) {
	fd, err := m.open(m.Reader.Address(t), unix.O_PATH)
	if err != unix.ENOENT {
		return fd, err
	}
	if err := m.setWalk(t); err != 0 {
		return -1, err
	}
	for links := 0; ; links++ {
		if err := m.cutWalk(); err != 0 {
			return -1, err
		}
		dir, err := m.openWalk()
		if err != 0 {
			return -1, err
		}
		fd, err := m.makeFile(dir)
		if err == unix.EEXIST {
			err = m.followName(dir)
		}
		closeFD(dir)
		switch {
		case err != 0 || fd >= 0:
			return fd, err
		case links == maxLinks:
			return -1, unix.ELOOP
		}
		if fd, err = m.open(m.walkFrom(0), unix.O_PATH); err != unix.ENOENT {
			return fd, err
		}
	}
}

// makeFile makes the file name in dir, which must not be there, not even as a link.
//
//go:nosplit
//go:norace
func (m *Machine) makeFile(dir int) (int, syscall.Errno) {
	fd, err := openAt(dir, m.nameAt(), unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_WRONLY)
	if err != 0 {
		return -1, err
	}
	closeFD(fd)
	return openAt(dir, m.nameAt(), unix.O_PATH|unix.O_NOFOLLOW)
}

// followName puts what the link name in dir leads to into walk, which is dir's path.
//
//go:nosplit
//go:norace
func (m *Machine) followName(dir int) syscall.Errno {
	n, err := m.readLink(dir, m.nameAt())
	if err != 0 {
		return err
	}
	m.setLinkByte(n, 0)
	end := 0
	for m.walkByte(end) != 0 {
		end++
	}
	if end == len(m.walk)-1 {
		return unix.ENAMETOOLONG
	}
	m.setWalkByte(end, '/')
	return m.linkToWalk(end+1, n)
}

// parentOf opens the folder that something is to be made in; what, is in name.
//
//go:nosplit
//go:norace
func (m *Machine) parentOf(t program.Text) (int, syscall.Errno) {
	if err := m.setWalk(t); err != 0 {
		return -1, err
	}
	if err := m.cutWalk(); err != 0 {
		return -1, err
	}
	return m.openWalk()
}

// cutWalk takes the last name off walk into name.
//
//go:nosplit
//go:norace
func (m *Machine) cutWalk() syscall.Errno {
	end := 0
	for m.walkByte(end) != 0 {
		end++
	}
	for end > 0 && m.walkByte(end-1) == '/' {
		end--
	}
	m.setWalkByte(end, 0)
	at := end
	for at > 0 && m.walkByte(at-1) != '/' {
		at--
	}
	if end-at >= len(m.name) {
		return unix.ENAMETOOLONG
	}
	for i := 0; i <= end-at; i++ {
		*(*byte)(unsafe.Add(unsafe.Pointer(&m.name), i)) = m.walkByte(at + i)
	}
	m.setWalkByte(at, 0)
	if at == 0 {
		m.setWalkByte(0, '/')
		m.setWalkByte(1, 0)
	}
	return 0
}

//go:nosplit
//go:norace
func (m *Machine) setWalk(t program.Text) syscall.Errno {
	if t.N >= len(m.walk) {
		return unix.ENAMETOOLONG
	}
	for i := 0; i <= t.N; i++ {
		m.setWalkByte(i, m.Reader.Byte(t, i))
	}
	return 0
}

//go:nosplit
//go:norace
func (m *Machine) walkFrom(i int) uintptr {
	return uintptr(unsafe.Add(unsafe.Pointer(&m.walk), i))
}

//go:nosplit
//go:norace
func (m *Machine) walkByte(i int) byte { return *(*byte)(unsafe.Add(unsafe.Pointer(&m.walk), i)) }

//go:nosplit
//go:norace
func (m *Machine) setWalkByte(i int, c byte) { *(*byte)(unsafe.Add(unsafe.Pointer(&m.walk), i)) = c }

//go:nosplit
//go:norace
func (m *Machine) linkByte(i int) byte { return *(*byte)(unsafe.Add(unsafe.Pointer(&m.link), i)) }

//go:nosplit
//go:norace
func (m *Machine) setLinkByte(i int, c byte) { *(*byte)(unsafe.Add(unsafe.Pointer(&m.link), i)) = c }

//go:nosplit
//go:norace
func (m *Machine) linkFrom(i int) uintptr {
	return uintptr(unsafe.Add(unsafe.Pointer(&m.link), i))
}

//go:nosplit
//go:norace
func (m *Machine) nameAt() uintptr { return uintptr(unsafe.Pointer(&m.name)) }

// byFD names an open file for a system call that takes paths only.
//
//go:nosplit
//go:norace
func (m *Machine) byFD(fd int) uintptr {
	const prefix = "/proc/self/fd/"
	for i := 0; i < len(prefix); i++ {
		*(*byte)(unsafe.Add(unsafe.Pointer(&m.proc), i)) = *(*byte)(unsafe.Add(unsafe.Pointer(unsafe.StringData(prefix)), i))
	}
	digits := 1
	for rest := fd / 10; rest > 0; rest /= 10 {
		digits++
	}
	*(*byte)(unsafe.Add(unsafe.Pointer(&m.proc), len(prefix)+digits)) = 0
	for i := len(prefix) + digits - 1; i >= len(prefix); i-- {
		*(*byte)(unsafe.Add(unsafe.Pointer(&m.proc), i)) = byte('0' + fd%10)
		fd /= 10
	}
	return uintptr(unsafe.Pointer(&m.proc))
}
