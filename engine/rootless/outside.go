package rootless

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Outside opens sockets in the network outside for a program that has a network namespace of its own: it asks the process
// that started it.
type Outside struct {
	mu   sync.Mutex // one question at a time
	conn *net.UnixConn
}

// maxPacket bounds a question and an answer.
const maxPacket = 4096

// OutsidePair makes both ends of the way to ask: one to Serve, one for the program to open by OpenOutside.
func OutsidePair() (ours *net.UnixConn, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make a socket pair: %w", err)
	}
	theirs = os.NewFile(uintptr(fds[1]), "outside")
	if ours, err = unixConn(os.NewFile(uintptr(fds[0]), "outside")); err != nil {
		return nil, nil, errors.Join(err, theirs.Close())
	}
	return ours, theirs, nil
}

// OpenOutside takes the program's end, a descriptor that it was started with.
func OpenOutside(fd uintptr) (*Outside, error) {
	unix.CloseOnExec(int(fd))
	conn, err := unixConn(os.NewFile(fd, "outside"))
	if err != nil {
		return nil, err
	}
	return &Outside{conn: conn}, nil
}

// unixConn makes a connection of a file, which it closes.
func unixConn(f *os.File) (*net.UnixConn, error) {
	defer f.Close()
	conn, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("make a connection of descriptor %s: %w", f.Name(), err)
	}
	c, ok := conn.(*net.UnixConn)
	if !ok {
		return nil, errors.Join(errors.ErrUnsupported, conn.Close())
	}
	return c, nil
}

// Listen opens a socket outside; network is tcp or udp.
func (o *Outside) Listen(network, address string) (*os.File, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, err := o.conn.Write([]byte(network + " " + address)); err != nil {
		return nil, fmt.Errorf("ask for a socket outside: %w", err)
	}
	answer, rights := make([]byte, maxPacket), make([]byte, unix.CmsgSpace(4))
	n, rightsSize, _, _, err := o.conn.ReadMsgUnix(answer, rights)
	if err != nil {
		return nil, fmt.Errorf("hear of a socket outside: %w", err)
	}
	if rightsSize == 0 {
		return nil, decodeError(answer[:n])
	}
	return oneFile(rights[:rightsSize], network+" "+address)
}

func oneFile(rights []byte, name string) (*os.File, error) {
	messages, err := unix.ParseSocketControlMessage(rights)
	if err != nil || len(messages) != 1 {
		return nil, fmt.Errorf("hear of a socket outside: %d messages: %w", len(messages), err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return nil, fmt.Errorf("hear of a socket outside: %d descriptors: %w", len(fds), err)
	}
	unix.CloseOnExec(fds[0])
	return os.NewFile(uintptr(fds[0]), name), nil
}

// ServeOutside answers questions until the other end is closed.
func ServeOutside(ctx context.Context, conn *net.UnixConn) {
	question := make([]byte, maxPacket)
	for {
		n, err := conn.Read(question)
		if err != nil || n == 0 {
			return
		}
		if err := answer(ctx, conn, string(question[:n])); err != nil {
			return
		}
	}
}

func answer(ctx context.Context, conn *net.UnixConn, question string) error {
	var network, address string
	if _, err := fmt.Sscan(question, &network, &address); err != nil {
		return err
	}
	f, err := listen(ctx, network, address)
	if err != nil {
		_, err = conn.Write(encodeError(err))
		return err
	}
	defer f.Close()
	_, _, err = conn.WriteMsgUnix([]byte{0}, unix.UnixRights(int(f.Fd())), nil)
	return err
}

func listen(ctx context.Context, network, address string) (*os.File, error) {
	var config net.ListenConfig
	if network == "udp" {
		c, err := config.ListenPacket(ctx, network, address)
		if err != nil {
			return nil, err
		}
		defer c.Close()
		return c.(*net.UDPConn).File()
	}
	l, err := config.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	defer l.Close()
	return l.(*net.TCPListener).File()
}

// encodeError keeps the errno, which says more than words, and the words.
func encodeError(err error) []byte {
	var errno syscall.Errno
	errors.As(err, &errno)
	text := err.Error()
	return append(binary.LittleEndian.AppendUint32(nil, uint32(errno)), text[:min(len(text), maxPacket-4)]...)
}

func decodeError(b []byte) error {
	if len(b) < 4 {
		return errors.New("hear of a socket outside: an answer without a socket")
	}
	if errno := syscall.Errno(binary.LittleEndian.Uint32(b)); errno != 0 {
		return errno
	}
	return errors.New(string(b[4:]))
}

// Close ends the asking.
func (o *Outside) Close() error { return o.conn.Close() }
