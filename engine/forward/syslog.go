package forward

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"naru/engine/logs"
)

const (
	// A facility and a severity: daemon's information and errors.
	priorityOut = 3<<3 | 6
	priorityErr = 3<<3 | 3
	// maxSyslog is the longest text of a message: what receivers take by default, less the header.
	maxSyslog = 7 << 10
	// sendTimeout is how long a connection may take for a batch until another one is tried.
	sendTimeout = 10 * time.Second
)

// syslog speaks RFC 5424 over one connection, which all containers share: datagrams, or a stream with the octet counts
// of RFC 6587.
//
// The protocol has no acknowledgement. A batch counts as received when the other side's kernel has all of it; what a
// receiver that dies had not read by then is lost.
type syslog struct {
	network, address, host string

	turn chan struct{} // held by who uses conn
	conn net.Conn      // nil when there is none
}

func newSyslog(network, address string) *syslog {
	host, err := os.Hostname()
	if err != nil {
		host = "-"
	}
	return &syslog{network: network, address: address, host: host, turn: make(chan struct{}, 1)}
}

// Send implements Receiver.
func (s *syslog) Send(ctx context.Context, from Source, batch []Message) error {
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	err := s.connect(ctx)
	if err == nil {
		err = s.write(ctx, s.messages(from, batch))
	}
	if err != nil {
		s.hangUp()
		return fmt.Errorf("send to the syslog at %s: %w", s.address, err)
	}
	return nil
}

// connect makes a connection, unless there is one. That its other side has gone shows when it is used.
func (s *syslog) connect(ctx context.Context) error {
	if s.conn != nil {
		return nil
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, s.network, s.address)
	s.conn = conn
	return err
}

func (s *syslog) hangUp() {
	if s.conn != nil {
		_ = s.conn.Close() // what was not delivered is sent again
	}
	s.conn = nil
}

func (s *syslog) write(ctx context.Context, messages [][]byte) error {
	defer context.AfterFunc(ctx, func() { _ = s.conn.SetDeadline(time.Unix(1, 0)) })()
	if s.network != "tcp" {
		for _, m := range messages {
			if _, err := s.conn.Write(m); err != nil {
				return err
			}
		}
		return nil
	}
	var stream []byte
	for _, m := range messages {
		stream = append(strconv.AppendInt(stream, int64(len(m)), 10), ' ')
		stream = append(stream, m...)
	}
	if _, err := s.conn.Write(stream); err != nil {
		return err
	}
	return awaitReceipt(ctx, s.conn)
}

// messages are the batch in the words of RFC 5424; a long text comes as several.
func (s *syslog) messages(from Source, batch []Message) (all [][]byte) {
	name := from.Name[:min(len(from.Name), 48)]
	id := from.ID[:min(len(from.ID), 12)]
	for _, m := range batch {
		priority := priorityOut
		if m.Stream == logs.Stderr {
			priority = priorityErr
		}
		head := fmt.Sprintf("<%d>1 %s %s %s %s %s - ", priority, m.Time.UTC().Format("2006-01-02T15:04:05.000000Z"), s.host, name, id, m.Stream)
		text := m.text()
		if len(text) == 0 {
			all = append(all, []byte(head))
		}
		for part := range slices.Chunk(text, maxSyslog) {
			all = append(all, append([]byte(head), part...))
		}
	}
	return all
}

// awaitReceipt returns when the other side's kernel has everything that was written: the first write to one that has gone
// seems to succeed.
func awaitReceipt(ctx context.Context, conn net.Conn) error {
	for wait := 100 * time.Microsecond; ; wait = min(2*wait, 50*time.Millisecond) {
		left, err := unsent(conn)
		switch {
		case err != nil:
			return err
		case hasHungUp(conn):
			return io.ErrUnexpectedEOF
		case left == 0:
			return nil
		}
		if err := pause(ctx, wait); err != nil {
			return err
		}
	}
}

// unsent is how many bytes the other side has not acknowledged.
func unsent(conn net.Conn) (n int, err error) {
	cerr := control(conn, func(fd int) { n, err = unix.IoctlGetInt(fd, unix.SIOCOUTQ) })
	return n, errors.Join(cerr, err)
}

// hasHungUp looks whether the other side has closed the connection. Syslogs say nothing, so there is nothing to read.
func hasHungUp(conn net.Conn) bool {
	var n int
	var err error
	cerr := control(conn, func(fd int) {
		n, _, err = unix.Recvfrom(fd, make([]byte, 1), unix.MSG_PEEK|unix.MSG_DONTWAIT)
	})
	return cerr != nil || err == nil && n == 0 || err != nil && !errors.Is(err, unix.EAGAIN)
}

func control(conn net.Conn, f func(fd int)) error {
	raw, err := conn.(syscall.Conn).SyscallConn()
	if err != nil {
		return err
	}
	return raw.Control(func(fd uintptr) { f(int(fd)) })
}
