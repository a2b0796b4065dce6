package bare

import (
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"naru/engine/sandbox/program"
)

// message is memory for one message on a socket with the descriptors that go along.
type message struct {
	header  hdr
	iov     [4]vector
	control [controlSize]byte
	head    [program.HeadSize]byte
}

// vector is a struct iovec without a pointer.
type vector struct{ base, size uintptr }

// hdr is a struct msghdr without pointers.
type hdr struct {
	name       uintptr
	nameSize   uint32
	_          uint32
	iov        uintptr
	iovs       uintptr
	control    uintptr
	controlLen uintptr
	flags      int32
	_          int32
}

const (
	cmsgHeader  = unix.SizeofCmsghdr
	controlSize = cmsgHeader + (program.MaxFiles*4+7)/8*8
)

// receive reads descriptors and the program; false when it could not, which it has told.
//
//go:nosplit
//go:norace
func (m *Machine) receive() bool {
	size, room, files := m.Head()
	at := m.Reader.Fill(size, room)
	if at == 0 || int64(files) > int64(len(m.files)) {
		m.aboutText("room for the program\x00")
		m.Fail(unix.ENOMEM)
		return false
	}
	return m.Body(at, size, files)
}

// Head reads what comes first: the size of the program, how many words its lists need, and how many descriptors come.
//
//go:nosplit
//go:norace
func (m *Machine) Head() (size, room, files uint32) {
	head := &m.message.head
	m.readAll(uintptr(unsafe.Pointer(head)), program.HeadSize)
	return le32(head, 0), le32(head, 4), le32(head, 8)
}

//go:nosplit
//go:norace
func le32(b *[program.HeadSize]byte, i int) uint32 {
	p := unsafe.Pointer(b)
	return uint32(*(*byte)(unsafe.Add(p, i))) | uint32(*(*byte)(unsafe.Add(p, i+1)))<<8 |
		uint32(*(*byte)(unsafe.Add(p, i+2)))<<16 | uint32(*(*byte)(unsafe.Add(p, i+3)))<<24
}

// Body reads the descriptors, and the program to where the Reader wants it.
//
//go:nosplit
//go:norace
func (m *Machine) Body(at uintptr, size, files uint32) bool {
	for m.filled < int(files) {
		if err := m.receiveFiles(int(files)); err != 0 {
			m.aboutText("receive files\x00")
			m.Fail(err)
			return false
		}
	}
	m.readAll(at, uintptr(size))
	return true
}

//go:nosplit
//go:norace
func (m *Machine) receiveFiles(most int) syscall.Errno {
	h := m.prepare(1, controlSize)
	n, _, err := syscall.RawSyscall6(unix.SYS_RECVMSG, uintptr(m.Sock), uintptr(unsafe.Pointer(h)), unix.MSG_CMSG_CLOEXEC, 0, 0, 0)
	switch {
	case err == unix.EINTR:
		return 0
	case err != 0:
		return err
	case n == 0:
		exit() // the daemon went away: nobody is left to tell
	}
	control := unsafe.Pointer(&m.message.control)
	length := int(*(*uint64)(control))
	if h.controlLen < cmsgHeader || length < cmsgHeader || length > int(h.controlLen) || *(*int32)(unsafe.Add(control, 12)) != unix.SCM_RIGHTS {
		return unix.EBADMSG
	}
	for i := cmsgHeader; i+4 <= length; i += 4 {
		if m.filled >= most {
			return unix.EBADMSG
		}
		*(*int32)(unsafe.Add(unsafe.Pointer(unsafe.SliceData(m.files)), m.filled*4)) = *(*int32)(unsafe.Add(control, i))
		m.filled++
	}
	return 0
}

// prepare makes a message of one vector, at the head, and so much room for descriptors.
//
//go:nosplit
//go:norace
func (m *Machine) prepare(size, control uintptr) *hdr {
	h := &m.message.header
	m.message.iov[0] = vector{uintptr(unsafe.Pointer(&m.message.head)), size}
	*h = hdr{iov: uintptr(unsafe.Pointer(&m.message.iov)), iovs: 1, control: uintptr(unsafe.Pointer(&m.message.control)), controlLen: control}
	return h
}

// SendFD sends a descriptor with so many bytes from at on.
//
//go:nosplit
//go:norace
func (m *Machine) SendFD(sock, fd int, at, size uintptr) syscall.Errno {
	control := unsafe.Pointer(&m.message.control)
	*(*uint64)(control) = cmsgHeader + 4
	*(*int32)(unsafe.Add(control, 8)) = unix.SOL_SOCKET
	*(*int32)(unsafe.Add(control, 12)) = unix.SCM_RIGHTS
	*(*int32)(unsafe.Add(control, cmsgHeader)) = int32(fd)
	h := m.prepare(0, cmsgHeader+8)
	m.message.iov[0] = vector{at, size}
	return errno3(unix.SYS_SENDMSG, uintptr(sock), uintptr(unsafe.Pointer(h)), 0)
}

// readAll reads exactly so much. A daemon that went away is no one to tell that it failed.
//
//go:nosplit
//go:norace
func (m *Machine) readAll(at, size uintptr) {
	for size > 0 {
		n, _, err := syscall.RawSyscall6(unix.SYS_READ, uintptr(m.Sock), at, size, 0, 0, 0)
		switch {
		case err == unix.EINTR:
		case err != 0 || n == 0:
			exit()
		default:
			at += n
			size -= n
		}
	}
}

// Say sends one byte that stands for a message.
//
//go:nosplit
//go:norace
func (m *Machine) Say(kind byte) syscall.Errno {
	m.message.head[0] = kind
	return errno3(unix.SYS_WRITE, uintptr(m.Sock), uintptr(unsafe.Pointer(&m.message.head)), 1)
}

// Await waits for the daemon's word that everything outside is done.
//
//go:nosplit
//go:norace
func (m *Machine) Await() syscall.Errno {
	m.readAll(uintptr(unsafe.Pointer(&m.message.head)), 1)
	if m.message.head[0] != program.MsgGo {
		exit() // the daemon gave up
	}
	return 0
}

// sync lets the daemon act at a moment when everything but the new root is there.
//
//go:nosplit
//go:norace
func (m *Machine) sync() syscall.Errno {
	if err := m.Say(program.MsgSync); err != 0 {
		return err
	}
	return m.Await()
}

// Fail tells the daemon which operation failed and what about; it is the last thing to be done.
//
//go:nosplit
//go:norace
func (m *Machine) Fail(err syscall.Errno) {
	const fixed = 5 // kind and errno
	size := uint32(fixed + m.about[0].size + m.about[1].size + m.about[2].size)
	head := &m.message.head
	head[0] = program.MsgFailure
	putLE32(head, 1, size)
	head[5] = byte(m.Op.Kind)
	putLE32(head, 6, uint32(err))
	m.message.iov = [4]vector{{uintptr(unsafe.Pointer(head)), 5 + fixed}, m.about[0], m.about[1], m.about[2]}
	// A daemon that went away wants no report.
	syscall.RawSyscall6(unix.SYS_WRITEV, uintptr(m.Sock), uintptr(unsafe.Pointer(&m.message.iov)), 4, 0, 0, 0)
}

// FailAbout is Fail for who has a Go runtime.
func (m *Machine) FailAbout(err syscall.Errno, what string) {
	m.about = [3]vector{{lit(what), uintptr(len(what))}}
	m.Fail(err)
	runtime.KeepAlive(what)
}

//go:nosplit
//go:norace
func putLE32(b *[program.HeadSize]byte, i int, v uint32) {
	p := unsafe.Pointer(b)
	for k := 0; k < 4; k++ {
		*(*byte)(unsafe.Add(p, i+k)) = byte(v >> (8 * k))
	}
}

//go:nosplit
//go:norace
func exit() {
	for {
		syscall.RawSyscall6(unix.SYS_EXIT_GROUP, 1, 0, 0, 0, 0, 0)
	}
}
