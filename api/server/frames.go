package server

import (
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"naru/api"
)

// Streams are the ends of a process that a client holds.
type Streams struct {
	Stdin          io.Reader // nil: none
	Stdout, Stderr io.Writer
	Resize         <-chan api.Size // the terminal's sizes, the first one included; never closed
}

// console is what a request says about its client's side of a framed session.
type console struct {
	stdin  bool              // FrameStdin will come
	size   *api.Size         // of its terminal
	signal func(name string) // what a FrameSignal does; nil: it ends the process
}

// process runs on streams to its end and returns its exit status. Its context ends when the client goes away.
type process func(ctx context.Context, st Streams) (int, error)

// framed upgrades the request's connection to frames, runs the process on it and ends with its exit status.
func (s *Server) framed(w http.ResponseWriter, r *http.Request, c console, run process) error {
	return s.upgrade(w, r, api.UpgradeFrames, func(ctx context.Context, conn net.Conn) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		if c.signal == nil {
			c.signal = func(string) { cancel() }
		}
		return newSession(conn, c).serve(ctx, cancel, run)
	})
}

// session is one framed connection with a process behind it.
type session struct {
	console
	conn   net.Conn
	send   sync.Mutex // one frame at a time
	in     *io.PipeReader
	input  *io.PipeWriter
	resize chan api.Size // the newest size only
}

func newSession(conn net.Conn, c console) *session {
	s := &session{console: c, conn: conn, resize: make(chan api.Size, 1)}
	s.in, s.input = io.Pipe()
	if c.size != nil {
		s.resize <- *c.size
	}
	if !c.stdin {
		_ = s.in.Close() // never fails; what a client sends all the same is dropped
	}
	return s
}

// serve runs the process while another goroutine receives what the client sends.
func (s *session) serve(ctx context.Context, cancel func(), run process) error {
	var receiving sync.WaitGroup
	receiving.Go(func() {
		defer cancel() // the client is gone
		s.receive()
	})
	code, err := run(ctx, s.streams())
	_ = s.in.Close() // lets receive go when it holds input that nobody will read
	if err != nil {
		err = s.write(api.FailureFrame(err))
	} else {
		err = s.write(api.ExitFrame(code))
	}
	_ = s.conn.SetReadDeadline(time.Now()) // wakes receive; the connection is closed right after
	receiving.Wait()
	return err
}

func (s *session) streams() Streams {
	st := Streams{
		Stdout: api.FrameWriter{Kind: api.FrameStdout, Send: s.write},
		Stderr: api.FrameWriter{Kind: api.FrameStderr, Send: s.write},
		Resize: s.resize,
	}
	if s.stdin {
		st.Stdin = s.in
	}
	return st
}

func (s *session) write(f api.Frame) error {
	s.send.Lock()
	defer s.send.Unlock()
	return api.WriteFrame(s.conn, f)
}

// receive acts on the client's frames until there are no more. Input that the process does not read holds up what
// comes behind it; a client that wants to end such a process closes the connection.
func (s *session) receive() {
	defer func() { _ = s.input.CloseWithError(io.ErrUnexpectedEOF) }() // never fails
	for {
		f, err := api.ReadFrame(s.conn)
		if err != nil || !s.act(f) {
			return
		}
	}
}

// act does what one frame asks for, and reports false for one that a client may not send.
func (s *session) act(f api.Frame) bool {
	switch f.Kind {
	case api.FrameStdin:
		_, _ = s.input.Write(f.Payload) // fails when the process has closed its input: then nobody wants it
	case api.FrameCloseStdin:
		_ = s.input.Close() // never fails
	case api.FrameSignal:
		s.signal(string(f.Payload))
	case api.FrameResize:
		size, err := f.Size()
		if err != nil {
			return false
		}
		s.resized(size)
	default:
		return false
	}
	return true
}

// resized replaces a size that nobody has taken yet.
func (s *session) resized(size api.Size) {
	select {
	case <-s.resize:
	default:
	}
	s.resize <- size // has room: only receive sends
}
