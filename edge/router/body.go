package router

import (
	"errors"
	"io"
	"net/http"
	"net/http/httputil"
	"sync/atomic"
	"time"
)

// keepLimit is the longest request body that is read whole before an upstream is asked. A slow client then holds no
// connection to an endpoint, and the request can be sent again.
const keepLimit = 16 << 10

// keepBody reads a short body. One that the client holds back until it is told to go on is left for the endpoint to
// ask for.
func (x *exchange) keepBody() error {
	n := x.req.ContentLength
	if n == 0 {
		x.buffered = true
		return nil
	}
	if n < 0 || n > keepLimit || x.expects() {
		return nil
	}
	x.body = make([]byte, n)
	_, err := io.ReadFull(x.req.Body, x.body)
	x.buffered = err == nil
	return err
}

// sender is the sending of a request's body beside the reading of the response, which may come first.
//
//	waiting ─► copying ─► (done)
//	   └─────► stopped ─► (done)
type sender struct {
	x     *exchange
	c     *conn
	body  bodyReader
	state atomic.Int32
	goOn  chan struct{} // the endpoint wants the body; capacity 1
	stop  chan struct{} // closed: the endpoint has answered without the body
	done  chan struct{} // closed at the end; nil when nothing was left to send
	whole bool          // all of it was sent; read after done
}

const (
	senderWaiting int32 = iota
	senderCopying
	senderStopped
)

// bodyReader reads a request's body and knows when it has seen the end.
type bodyReader struct {
	io.Reader
	ended atomic.Bool
}

func (b *bodyReader) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err == io.EOF {
		b.ended.Store(true)
	}
	return n, err
}

// send writes the head, and the body if it is at hand; else it starts sending it.
func (x *exchange) send(c *conn) (*sender, error) {
	x.writeHead(c.bw)
	_, _ = c.bw.Write(x.body) // Flush tells
	if err := c.bw.Flush(); err != nil {
		return nil, err
	}
	s := &sender{x: x, c: c}
	if x.buffered {
		s.whole = true
		s.body.ended.Store(true)
		return s, nil
	}
	// Without this the server would read the body itself before the response's first byte goes out.
	_ = http.NewResponseController(x.w).EnableFullDuplex() // HTTP/2 needs no such thing
	s.body.Reader = x.req.Body
	s.goOn, s.stop, s.done = make(chan struct{}, 1), make(chan struct{}), make(chan struct{})
	if !x.expects() {
		s.proceed()
	}
	go s.run()
	return s, nil
}

// continueTimeout is how long to wait for an endpoint that was asked whether it wants the body (RFC 9110 section
// 10.1.1): one that does not know the question never answers it.
const continueTimeout = time.Second

func (s *sender) run() {
	defer close(s.done)
	timer := time.NewTimer(continueTimeout)
	defer timer.Stop()
	select {
	case <-s.goOn:
	case <-timer.C:
	case <-s.stop:
	case <-s.x.req.Context().Done():
	}
	if !s.state.CompareAndSwap(senderWaiting, senderCopying) || s.x.req.Context().Err() != nil {
		return
	}
	s.x.bodySent.Store(true)
	s.whole = s.copy() == nil
	if !s.whole {
		_ = s.c.tcp.CloseWrite() // the endpoint must not wait for the rest, but may still answer
	}
}

// proceed lets the body go.
func (s *sender) proceed() {
	select {
	case s.goOn <- struct{}{}:
	default: // it has been told, or has nothing to send
	}
}

func (s *sender) copy() error {
	buffer := s.x.router.buffers.Get().(*[]byte)
	defer s.x.router.buffers.Put(buffer)
	if s.x.req.ContentLength > 0 {
		_, err := io.CopyBuffer(onlyWriter{s.c.tcp}, &s.body, *buffer)
		return err
	}
	chunks := httputil.NewChunkedWriter(s.c.bw)
	if err := s.copyChunks(chunks, *buffer); err != nil {
		return err
	}
	_ = chunks.Close() // Flush tells
	s.writeTrailer()
	return s.c.bw.Flush()
}

// copyChunks sends on each piece as it comes, as the client may be waiting for an answer to it.
func (s *sender) copyChunks(chunks io.Writer, buffer []byte) error {
	for {
		n, err := s.body.Read(buffer)
		if n > 0 {
			_, _ = chunks.Write(buffer[:n])
			if err := s.c.bw.Flush(); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (s *sender) writeTrailer() {
	for name, values := range s.x.req.Trailer {
		for _, value := range values {
			writeAll(s.c.bw, name, ": ", value, "\r\n")
		}
	}
	writeAll(s.c.bw, "\r\n")
}

// finish ends the sending: the attempt is over. Of a body whose end has been read, only a write can be left, which
// the connection's deadline ends. One that the endpoint did not want to the end has to be torn from the client's
// connection, whose response has said that it closes.
func (s *sender) finish() {
	if s.done == nil || s.ended() {
		return
	}
	if s.state.CompareAndSwap(senderWaiting, senderStopped) {
		close(s.stop)
	} else if s.body.ended.Load() {
		_ = s.c.tcp.SetWriteDeadline(time.Now().Add(lastWrite))
	} else {
		s.c.abort()
		_ = http.NewResponseController(s.x.w).SetReadDeadline(time.Unix(1, 0)) // a failure: the connection is gone already
	}
	<-s.done
	_ = s.c.tcp.SetWriteDeadline(time.Time{}) // the connection may carry another request
}

func (s *sender) ended() bool {
	select {
	case <-s.done:
		return true
	default:
		return false
	}
}

// lastWrite is how long the end of a body may take to be written after the response to it has been read.
const lastWrite = time.Second

// complete reports whether the endpoint has the whole request, so that its connection can carry another.
func (s *sender) complete() bool {
	s.finish()
	return s.whole
}

// onlyWriter hides every method but Write, so that a copy uses the buffer it is given.
type onlyWriter struct{ io.Writer }
