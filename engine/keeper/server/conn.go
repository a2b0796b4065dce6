package server

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"naru/engine/keeper/internal/wire"
)

// acceptor takes new clients in.
type acceptor struct{ s *server }

func (a acceptor) ready() {
	fd, _, err := unix.Accept4(a.s.listener, unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
	if errors.Is(err, unix.EMFILE) {
		a.refuse()
	}
	if err != nil {
		logf("accept a client: %v", err)
		return
	}
	c := &conn{s: a.s, fd: fd}
	if c.token, err = a.s.poller.add(fd, c); err != nil {
		logf("accept a client: %v", err)
		_ = unix.Close(fd)
	}
}

// refuse takes a client in only to show it out. Without descriptors to take it in with, it would wait at the door, and
// the loop would spin.
func (a acceptor) refuse() {
	_ = unix.Close(a.s.spare)
	if fd, _, err := unix.Accept4(a.s.listener, unix.SOCK_CLOEXEC); err == nil {
		_ = unix.Close(fd)
	}
	a.s.spare = openSpare()
}

func openSpare() int {
	fd, err := unix.Open("/", unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1
	}
	return fd
}

// conn is a client with one request, or one that waits for a child's exit.
type conn struct {
	s        *server
	fd       int
	token    uint64
	waitsFor *child
	bears    *child // the process that it asked for, until that is born
	busy     bool   // its request is under way
	closed   bool
}

// ready takes the request, or notices that the client went away.
func (c *conn) ready() {
	n, controlSize, flags, _, err := unix.Recvmsg(c.fd, c.s.buffer, c.s.control, unix.MSG_CMSG_CLOEXEC)
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
		return
	}
	if err != nil || n == 0 || c.busy {
		closeAll(c.s.control[:controlSize], flags)
		c.close()
		return
	}
	c.serve(c.s.buffer[:n], c.s.control[:controlSize], flags)
}

func closeAll(control []byte, flags int) {
	if fds, err := wire.Descriptors(control, flags); err == nil {
		wire.Close(fds)
	}
}

// serve answers a packet.
func (c *conn) serve(packet, control []byte, flags int) {
	fds, err := wire.Descriptors(control, flags)
	if err != nil {
		c.answer(failure(err), -1)
		return
	}
	sent := &descriptors{fds: fds}
	defer sent.close()
	r, err := wire.DecodeRequest(packet)
	switch {
	case err != nil:
		c.answer(failure(err), -1)
	case r.Op == wire.Hello:
		c.answer(wire.Reply{PID: os.Getpid(), Build: c.s.build}, -1)
	case r.Version != wire.Version:
		c.answer(refuse(wire.Foreign, "this keeper speaks protocol %d", wire.Version), -1)
	default:
		c.operate(r, sent)
	}
}

// operate does what a request asks for.
func (c *conn) operate(r wire.Request, sent *descriptors) {
	switch r.Op {
	case wire.Spawn:
		c.s.spawn(r.ID, r.Spawn, sent, c)
	case wire.List:
		c.answer(c.s.list(r.After), -1)
	case wire.PidFD:
		reply, pidfd := c.s.pidFD(r.ID)
		c.answer(reply, pidfd)
	case wire.Wait:
		c.wait(r.ID)
	case wire.Forget:
		c.answer(c.s.forget(r.ID), -1)
	case wire.Put:
		c.answer(c.s.put(r.ID, sent), -1)
	case wire.Get:
		reply, fd := c.s.get(r.ID)
		c.answer(reply, fd)
	case wire.Drop:
		c.answer(c.s.drop(r.ID), -1)
	case wire.Names:
		c.answer(c.s.names(), -1)
	case wire.Quit:
		c.quit()
	case wire.SetTerminal:
		c.answer(c.s.setTerminal(r.ID, sent), -1)
	case wire.Terminal:
		reply, fd := c.s.terminal(r.ID)
		c.answer(reply, fd)
	}
}

// wait answers now or when the child exits.
func (c *conn) wait(id string) {
	child, ok := c.s.children[id]
	switch {
	case !ok:
		c.answer(unknown(id), -1)
	case child.info.Exited:
		c.answer(wire.Reply{Children: []wire.Child{child.info}}, -1)
	default:
		c.busy, c.waitsFor = true, child
		child.waiters = append(child.waiters, c)
	}
}

func (c *conn) quit() {
	if keeps := c.s.keeps(); keeps != "" {
		c.answer(refuse(wire.Kept, "the keeper still keeps %s", keeps), -1)
		return
	}
	c.answer(wire.Reply{}, -1)
	c.s.end()
}

// answer sends the reply, with a descriptor if fd is one, and ends the connection. A client that is not there to
// hear it, or has not read what it asked for before, has had its chance. It reports whether the reply is on its way.
func (c *conn) answer(r wire.Reply, fd int) (sent bool) {
	if c.closed {
		return false
	}
	var rights []byte
	if fd >= 0 {
		rights = unix.UnixRights(fd)
	}
	r.Version = wire.Version
	err := unix.Sendmsg(c.fd, r.Encode(), rights, nil, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)
	c.close()
	return err == nil
}

// hungUp reports whether the client has gone.
func (c *conn) hungUp() bool {
	if c.closed {
		return true
	}
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(c.fd)}}, 0) // POLLHUP is always asked for
	return n > 0 && err == nil
}

func (c *conn) close() {
	if c.closed {
		return
	}
	c.closed = true
	if c.waitsFor != nil {
		c.waitsFor.dropWaiter(c)
		c.waitsFor = nil
	}
	if c.bears != nil {
		c.bears.leave()
	}
	c.s.poller.remove(c.fd, c.token)
	_ = unix.Close(c.fd)
}

// descriptors came with a request. What is not taken is closed after it.
type descriptors struct{ fds []int }

// take hands over the next n.
func (d *descriptors) take(n int) []int {
	n = min(n, len(d.fds))
	taken := d.fds[:n:n]
	d.fds = d.fds[n:]
	return taken
}

func (d *descriptors) close() { wire.Close(d.fds) }

func failure(err error) wire.Reply {
	r := wire.Reply{Kind: wire.Failed, Text: err.Error()}
	var errno syscall.Errno
	if errors.As(err, &errno) {
		r.Errno = errno
	}
	return r
}

func refuse(kind wire.Kind, format string, args ...any) wire.Reply {
	return wire.Reply{Kind: kind, Text: fmt.Sprintf(format, args...)}
}

func unknown(id string) wire.Reply { return refuse(wire.NotFound, "the keeper knows no %q", id) }
