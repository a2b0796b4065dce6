package server

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"naru/api"
	"naru/naru"
)

// upgrade takes the connection over from HTTP and serves another protocol on it. Errors before that are HTTP answers;
// later ones are logged, since the protocol has told the client what it had to.
func (s *Server) upgrade(w http.ResponseWriter, r *http.Request, protocol string, serve func(context.Context, net.Conn) error) error {
	if !wantsUpgrade(r, protocol) {
		return naru.Errorf(naru.InvalidArgument, "%s %s wants a connection upgraded to %s", r.Method, r.URL.Path, protocol)
	}
	conn, err := hijack(w, protocol)
	if err != nil {
		return err
	}
	s.streams.Add(1)
	defer s.streams.Done()
	defer func() { _ = conn.Close() }() // the other side may have closed it first
	// A hijacked request's context does not end with its connection, so the protocol watches for that itself.
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	stop := context.AfterFunc(s.life, func() { _ = conn.SetDeadline(time.Now()) }) // wakes whoever reads or writes
	defer stop()
	if err := serve(ctx, conn); err != nil && !gone(err) && s.life.Err() == nil {
		s.cfg.Log.Debug("serve an upgraded connection", "protocol", protocol, "path", r.URL.Path, "err", err)
	}
	return errAnswered
}

func wantsUpgrade(r *http.Request, protocol string) bool {
	return strings.EqualFold(r.Header.Get("Connection"), "Upgrade") && r.Header.Get("Upgrade") == protocol
}

func hijack(w http.ResponseWriter, protocol string) (net.Conn, error) {
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, fmt.Errorf("take the connection over: %w", err)
	}
	if err := conn.SetDeadline(time.Time{}); err != nil {
		return nil, errors.Join(fmt.Errorf("take the connection over: %w", err), conn.Close())
	}
	_, err = fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n%s: %s\r\n\r\n",
		protocol, api.VersionHeader, api.Version)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("take the connection over: %w", err), conn.Close())
	}
	return &bufferedConn{conn, buffered.Reader}, nil
}

// bufferedConn reads first what HTTP had read ahead.
type bufferedConn struct {
	net.Conn
	r *bufio.Reader
}

func (c *bufferedConn) Read(p []byte) (int, error) { return c.r.Read(p) }

func gone(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrUnexpectedEOF)
}
