package builder

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"path/filepath"

	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/session/filesync"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/test/bufconn"

	"naru/naru"
)

// Session lets a builder read an app's folder, file by file and only what it lacks. It is the side that has the files.
type Session struct{ s *session.Session }

// OpenSession opens a session that serves the folder root and what is below it, and nothing else.
func OpenSession(ctx context.Context, root string) (*Session, error) {
	abs, err := filepath.Abs(root)
	if err != nil {
		return nil, fmt.Errorf("open build session: %w", err)
	}
	key := sha256.Sum256([]byte(abs)) // the builder compares the folder with what it read of it last time
	s, err := session.NewSession(ctx, hex.EncodeToString(key[:]))
	if err != nil {
		return nil, fmt.Errorf("open build session: %w", err)
	}
	s.Allow(filesync.NewFSSyncProvider(folders{root: abs}))
	return &Session{s}, nil
}

// ID names the session in a Request.
func (s *Session) ID() string { return s.s.ID() }

// Run connects to the builder and serves until ctx or the connection ends. dial returns a connection whose other end
// is given to ServeSession.
func (s *Session) Run(ctx context.Context, dial func(context.Context) (net.Conn, error)) error {
	return s.s.Run(ctx, func(ctx context.Context, _ string, meta map[string][]string) (net.Conn, error) {
		conn, err := dial(ctx)
		if err != nil {
			return nil, err
		}
		if err := writeHello(conn, meta); err != nil {
			conn.Close()
			return nil, fmt.Errorf("greet builder: %w", err)
		}
		return conn, nil
	})
}

// ServeSession serves one session on the builder's side until ctx or the connection ends. It closes conn.
func (b *Builder) ServeSession(ctx context.Context, conn net.Conn) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	defer conn.Close()
	meta, err := readHello(conn)
	if err != nil {
		return naru.Errorf(naru.InvalidArgument, "begin build session: %w", err)
	}
	// The session manager by itself would notice a closed connection only by a failed health check, seconds later.
	return b.sessions.HandleConn(quiet(ctx), watchedConn{conn, cancel}, meta)
}

type watchedConn struct {
	net.Conn
	gone context.CancelCauseFunc
}

func (c watchedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err != nil {
		c.gone(err)
	}
	return n, err
}

// maxHello bounds the first message of a session.
const maxHello = 64 << 10

// writeHello sends the session's id and services: a length of four bytes and JSON.
func writeHello(w io.Writer, meta map[string][]string) error {
	b, err := json.Marshal(meta)
	if err != nil {
		return err
	}
	_, err = w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...))
	return err
}

func readHello(r io.Reader) (map[string][]string, error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, fmt.Errorf("read greeting: %w", err)
	}
	n := binary.BigEndian.Uint32(size[:])
	if n > maxHello {
		return nil, fmt.Errorf("read greeting: %d bytes are too many", n)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, fmt.Errorf("read greeting: %w", err)
	}
	var meta map[string][]string
	if err := json.Unmarshal(b, &meta); err != nil {
		return nil, fmt.Errorf("read greeting: %w", err)
	}
	return meta, nil
}

// WithFolder calls use with the id of a session that serves a folder of this machine, such as a pushed tree.
func (b *Builder) WithFolder(ctx context.Context, root string, use func(ctx context.Context, sessionID string) error) error {
	s, err := OpenSession(ctx, root)
	if err != nil {
		return err
	}
	l := bufconn.Listen(64 << 10)
	defer func() { _ = l.Close() }() // it has no file behind it
	g, ctx := errgroup.WithContext(ctx)
	serving, stop := context.WithCancel(ctx)
	defer stop()
	g.Go(func() error {
		conn, err := l.Accept()
		if err != nil {
			return fmt.Errorf("accept own session: %w", err)
		}
		return b.ServeSession(serving, conn)
	})
	g.Go(func() error { return s.Run(serving, l.DialContext) })
	g.Go(func() error {
		defer stop()
		return use(ctx, s.ID())
	})
	return g.Wait()
}
