package router

import (
	"bufio"
	"errors"
	"fmt"
	"math"
	"net"
	"syscall"
	"time"
)

// conn is a connection to an upstream. One goroutine uses it at a time, the one that serves the client's request: no
// reader of its own waits on it, which is what makes it cheap.
type conn struct {
	tcp       *net.TCPConn
	raw       syscall.RawConn
	br        *bufio.Reader
	bw        *bufio.Writer
	budget    int64 // bytes that may still be read: bounds a response's header
	reused    bool
	idleSince time.Time
	peeked    bool // result of the last quiet, kept here so that asking allocates nothing
	peek      func(fd uintptr) bool
}

const (
	connBuffer = 4 << 10
	copyBuffer = 32 << 10
	maxHeader  = 1 << 20
)

var errHeaderTooLarge = fmt.Errorf("the response's header is larger than %d bytes", maxHeader)

func newConn(tcp *net.TCPConn) (*conn, error) {
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil, errors.Join(err, tcp.Close())
	}
	c := &conn{tcp: tcp, raw: raw}
	c.br = bufio.NewReaderSize(c, connBuffer)
	c.bw = bufio.NewWriterSize(tcp, connBuffer)
	c.peek = c.look
	return c, nil
}

func (c *conn) close() { _ = c.tcp.Close() } // nothing is lost by a connection that is given up

// Read reads within the budget.
func (c *conn) Read(p []byte) (int, error) {
	if c.budget <= 0 {
		return 0, errHeaderTooLarge
	}
	if int64(len(p)) > c.budget {
		p = p[:c.budget]
	}
	n, err := c.tcp.Read(p)
	c.budget -= int64(n)
	return n, err
}

func (c *conn) boundHeader() { c.budget = maxHeader }
func (c *conn) unbound()     { c.budget = math.MaxInt64 }

// quiet reports whether nothing has come on an idle connection. An end means that the endpoint closed it; bytes that
// nobody asked for (some servers send a 408 before they close) would be taken for the next request's response.
func (c *conn) quiet() bool {
	c.peeked = false
	err := c.raw.Read(c.peek)
	return err == nil && c.peeked
}

// look peeks without waiting; true tells RawConn.Read not to wait either.
func (c *conn) look(fd uintptr) bool {
	var b [1]byte
	_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	c.peeked = err == syscall.EAGAIN
	return true
}
