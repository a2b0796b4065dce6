package client

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"

	"naru/api"
	"naru/naru"
)

// Streams are this side's ends of a process that runs in the daemon's care.
type Streams struct {
	Stdin          io.Reader // nil: none. A read that blocks for ever, as a terminal's does, does not hold up the end
	Stdout, Stderr io.Writer
	Resize         <-chan api.Size // later sizes of the terminal
	Signals        <-chan string   // names of signals to pass on
}

// Exec runs a command in an instance of an app and returns its exit status.
func (c *Client) Exec(ctx context.Context, ae naru.AppEnv, q api.ExecRequest, st Streams) (int, error) {
	q.Stdin = st.Stdin != nil
	return c.process(ctx, appPath(ae, "exec"), appQuery(ae), q, st)
}

// Run runs a one-off process of an app's current release and returns its exit status.
func (c *Client) Run(ctx context.Context, ae naru.AppEnv, q api.RunRequest, st Streams) (int, error) {
	q.Stdin = st.Stdin != nil
	return c.process(ctx, appPath(ae, "run"), appQuery(ae), q, st)
}

// ExecContainer runs a command in a container and returns its exit status.
func (c *Client) ExecContainer(ctx context.Context, idOrName string, q api.ExecRequest, st Streams) (int, error) {
	q.Stdin = st.Stdin != nil
	return c.process(ctx, containerPath(idOrName)+"/exec", nil, q, st)
}

// ExecContainerDetached starts a command in a container and leaves it running.
func (c *Client) ExecContainerDetached(ctx context.Context, idOrName string, q api.ExecRequest) error {
	q.Detach = true
	return c.send(ctx, http.MethodPost, containerPath(idOrName)+"/exec", nil, q)
}

// RunContainer creates a container, starts it and stays with it until it ends.
func (c *Client) RunContainer(ctx context.Context, q api.ContainerRun, st Streams) (int, error) {
	return c.process(ctx, "/v1/containers/run", nil, q, st)
}

// process joins the streams to an upgraded connection until the daemon says how the process ended.
func (c *Client) process(ctx context.Context, path string, query url.Values, body any, st Streams) (int, error) {
	conn, err := c.upgrade(ctx, api.UpgradeFrames, path, query, body)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() }) // wakes the reader below; nothing can be lost any more
	defer stop()
	defer cancel()
	out := &sender{conn: conn}
	if st.Stdin != nil {
		go out.copyStdin(st.Stdin) // not waited for: it may sit in a read of a terminal until the program ends
	}
	var passing sync.WaitGroup
	defer passing.Wait()
	defer cancel()
	if st.Resize != nil || st.Signals != nil {
		passing.Go(func() { out.passOn(ctx, st) })
	}
	return receive(conn, st)
}

// receive copies the process's output until its end.
func receive(conn net.Conn, st Streams) (int, error) {
	for {
		f, err := api.ReadFrame(conn)
		if err != nil {
			return 0, lost(err)
		}
		switch f.Kind {
		case api.FrameStdout:
			_, err = st.Stdout.Write(f.Payload)
		case api.FrameStderr:
			_, err = st.Stderr.Write(f.Payload)
		case api.FrameExit:
			return f.ExitCode()
		case api.FrameFailure:
			return 0, f.Failure()
		}
		if err != nil {
			return 0, naru.Errorf(naru.Failed, "write the process's output: %w", err)
		}
	}
}

// sender writes frames to the daemon, one at a time.
type sender struct {
	mu   sync.Mutex
	conn net.Conn
}

func (s *sender) send(f api.Frame) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return api.WriteFrame(s.conn, f)
}

// copyStdin ends when the input does, or the connection.
func (s *sender) copyStdin(stdin io.Reader) {
	_, err := io.Copy(api.FrameWriter{Kind: api.FrameStdin, Send: s.send}, stdin)
	if err == nil || !errors.Is(err, net.ErrClosed) {
		_ = s.send(api.Frame{Kind: api.FrameCloseStdin}) // a connection that broke is the reader's to report
	}
}

// passOn sends sizes and signals until ctx ends or the connection breaks, which is the reader's to report.
func (s *sender) passOn(ctx context.Context, st Streams) {
	for {
		var f api.Frame
		select {
		case size := <-st.Resize:
			f = api.ResizeFrame(size)
		case name := <-st.Signals:
			f = api.Frame{Kind: api.FrameSignal, Payload: []byte(name)}
		case <-ctx.Done():
			return
		}
		if s.send(f) != nil {
			return
		}
	}
}
