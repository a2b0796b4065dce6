package ociruntime

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"naru/naru"
)

// gateAddress names the gate's socket by the descriptor of its folder: a socket's path has room for 107 bytes only.
func gateAddress(dir *os.File) *unix.SockaddrUnix {
	return &unix.SockaddrUnix{Name: fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), gateName)}
}

// listen makes the socket at which the container waits for its start. The init alone keeps it open: it ends with it.
func (c *record) listen() (*os.File, error) {
	dir, err := os.Open(c.dir)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("make the start socket: %w", err)
	}
	gate := os.NewFile(uintptr(fd), gateName)
	if err := errors.Join(unix.Bind(fd, gateAddress(dir)), unix.Listen(fd, 1)); err != nil {
		gate.Close()
		return nil, fmt.Errorf("make the start socket: %w", err)
	}
	return gate, nil
}

// passGate connects to the waiting container. The one who removes the socket is the one who starts it.
func (c *record) passGate() (*net.UnixConn, error) {
	conn, err := c.dialGate()
	if err != nil {
		return nil, err
	}
	err = os.Remove(filepath.Join(c.dir, gateName))
	if err == nil {
		return conn, nil
	}
	conn.Close()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, naru.Errorf(naru.FailedPrecondition, "cannot start a container in the running state")
	}
	return nil, fmt.Errorf("remove the start socket: %w", err)
}

func (c *record) dialGate() (*net.UnixConn, error) {
	dir, err := os.Open(c.dir)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), gateName)
	defer f.Close()
	if err := unix.Connect(fd, gateAddress(dir)); err != nil {
		return nil, naru.Errorf(naru.FailedPrecondition, "cannot start a container whose init does not wait: %w", err)
	}
	conn, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	return conn.(*net.UnixConn), nil
}
