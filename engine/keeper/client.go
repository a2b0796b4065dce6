// Package keeper is the daemon's side of the keeper: it receives processes to start and sockets to keep, owns the
// way to the one keeper of its folder (which it starts when there is none), and hands back pidfds, exits and
// listeners. What it hands to the keeper outlives the daemon: the next daemon asks for it again.
//
// The keeper, in package server, is a process of its own; package wire is what the two say to each other. Each call
// is a connection of its own, so that a Client has no state that could differ from the keeper's, and needs no
// goroutine.
package keeper

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"naru/engine/keeper/internal/wire"
	"naru/naru"
)

// What a call can meet, for errors.Is.
var (
	ErrNotFound = errors.New("not found")                // no such child or kept descriptor
	ErrExists   = errors.New("exists already")           // the id or name is taken
	ErrKept     = errors.New("still kept")               // it runs, or there is something left to keep
	ErrExited   = errors.New("has exited")               // the child runs no more
	ErrForeign  = errors.New("another protocol version") // the keeper is of another naru
	ErrGone     = errors.New("no keeper runs")           // it was never started, or died
)

// Options say which keeper is meant.
type Options struct {
	Dir        string   // where its socket, lock and exits lie
	Executable *os.File // the ELF to start instead of the embedded one, for tests
}

// Info tells about the keeper that runs.
type Info struct {
	PID     int
	Build   string
	Current bool // it runs the executable that this program embeds
}

// Client asks one keeper. It is safe for concurrent use.
type Client struct {
	dir     string
	program program
	info    Info

	mu  sync.Mutex
	own *os.File // this program's executable, for a keeper that runs another
}

// Info tells about the keeper that Ensure found or started.
func (c *Client) Info() Info { return c.info }

// Close frees what the client holds. The keeper and what it keeps stay.
func (c *Client) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.own == nil {
		return nil
	}
	err := c.own.Close()
	c.own = nil
	return err
}

// executable is what a process without an executable of its own starts: nil, the keeper's own, if that is ours too.
// A newer daemon must not depend on what an older keeper brought along.
func (c *Client) executable() (*os.File, error) {
	if c.info.Current {
		return nil, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.own == nil {
		f, err := c.program.seal()
		if err != nil {
			return nil, err
		}
		c.own = f
	}
	return c.own, nil
}

// call sends a request with descriptors and returns the reply with its descriptors, which the caller closes.
func (c *Client) call(ctx context.Context, r wire.Request, fds ...int) (wire.Reply, []int, error) {
	conn, err := c.dial(ctx)
	if err != nil {
		return wire.Reply{}, nil, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) }) // it may be closed by then
	defer stop()
	r.Version = wire.Version
	reply, got, err := exchange(conn, r, fds)
	if err != nil && ctx.Err() != nil {
		return wire.Reply{}, nil, ctx.Err()
	}
	if err != nil {
		return wire.Reply{}, nil, fmt.Errorf("talk to the keeper: %w", err)
	}
	if err := replyError(reply); err != nil {
		wire.Close(got)
		return wire.Reply{}, nil, err
	}
	return reply, got, nil
}

// dial connects to the keeper. The socket is named through its folder's descriptor, because a socket's path may not
// be longer than 107 bytes, and a folder's may.
func (c *Client) dial(ctx context.Context) (*net.UnixConn, error) {
	dir, err := os.Open(c.dir)
	if err != nil {
		return nil, gone(err)
	}
	defer dir.Close()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unixpacket", fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), wire.SocketName))
	if errors.Is(err, os.ErrDeadlineExceeded) { // the deadline is ctx's, which may hear of it a moment later
		return nil, fmt.Errorf("connect to the keeper: %w", context.DeadlineExceeded)
	}
	if err != nil {
		return nil, gone(err)
	}
	unixConn := conn.(*net.UnixConn)
	if err := unixConn.SetWriteBuffer(wire.MaxPacket); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("connect to the keeper: %w", err)
	}
	return unixConn, nil
}

func gone(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("connect to the keeper: %w: %w", ErrGone, err)
	}
	return fmt.Errorf("connect to the keeper: %w", err)
}

func exchange(conn *net.UnixConn, r wire.Request, fds []int) (wire.Reply, []int, error) {
	packet := r.Encode()
	if len(packet) > wire.MaxPacket || len(fds) > wire.MaxFiles {
		return wire.Reply{}, nil, fmt.Errorf("%d bytes of arguments and environment and %d descriptors: the limits are %d and %d",
			len(packet), len(fds), wire.MaxPacket, wire.MaxFiles)
	}
	if _, _, err := conn.WriteMsgUnix(packet, syscall.UnixRights(fds...), nil); err != nil {
		return wire.Reply{}, nil, err
	}
	return receive(conn, replySize(r.Op))
}

// receive reads the reply, after which the keeper hangs up.
func receive(conn *net.UnixConn, size int) (wire.Reply, []int, error) {
	buffer, control := make([]byte, size), make([]byte, wire.ControlSize)
	n, controlSize, flags, _, err := conn.ReadMsgUnix(buffer, control)
	if errors.Is(err, io.EOF) {
		// The kernel looks for a packet first and for the hanging up later. If both come in between, it says end of
		// file with the packet still in the queue (unix_dgram_recvmsg, up to 6.18 at least). The second look is sure.
		n, controlSize, flags, _, err = conn.ReadMsgUnix(buffer, control)
	}
	if errors.Is(err, io.EOF) {
		return wire.Reply{}, nil, fmt.Errorf("it hung up: %w", ErrGone)
	}
	if err != nil {
		return wire.Reply{}, nil, err
	}
	got, err := wire.Descriptors(control[:controlSize], flags)
	if err != nil {
		return wire.Reply{}, nil, err
	}
	reply, err := wire.DecodeReply(buffer[:n])
	if err != nil {
		wire.Close(got)
	}
	return reply, got, err
}

// replySize is the room a reply needs. One that waits for an exit for a year should not hold a quarter megabyte.
func replySize(op wire.Op) int {
	if op == wire.List || op == wire.Names {
		return wire.MaxPacket
	}
	return 4 << 10
}

// answer is what the keeper says is wrong: with its words, one of the errors above, and the errno behind it.
type answer struct {
	text  string
	is    error
	errno syscall.Errno
}

func (a *answer) Error() string { return a.text }

// Unwrap lets errors.Is see what it is.
func (a *answer) Unwrap() []error {
	var all []error
	if a.is != nil {
		all = append(all, a.is)
	}
	if a.errno != 0 {
		all = append(all, a.errno)
	}
	return all
}

func replyError(r wire.Reply) error {
	kinds := map[wire.Kind]error{
		wire.NotFound: ErrNotFound, wire.Exists: ErrExists, wire.Kept: ErrKept, wire.Exited: ErrExited, wire.Foreign: ErrForeign,
	}
	switch {
	case r.Version != wire.Version:
		return naru.Errorf(naru.FailedPrecondition,
			"a keeper of another naru version runs (protocol %d, this naru speaks %d): stop its containers, then start again: %w",
			r.Version, wire.Version, ErrForeign)
	case r.Kind == wire.OK:
		return nil
	}
	return &answer{text: r.Text, is: kinds[r.Kind], errno: r.Errno}
}

// absolute makes dir independent of the working directory, which the keeper does not share.
func absolute(dir string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("find the keeper's folder: %w", err)
	}
	return abs, nil
}
