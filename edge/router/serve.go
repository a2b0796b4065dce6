package router

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

const (
	headerTimeout = 30 * time.Second
	idleTimeout   = 3 * time.Minute
	farewell      = time.Second // how long idle clients get to learn that the connection ends
)

// Serve answers requests on l until ctx ends. Then it accepts no more, tells each client with its next response that
// the connection ends, lets what is in flight finish within the grace, and returns nil.
func (r *Router) Serve(ctx context.Context, l net.Listener) error {
	var open connections
	server := &http.Server{
		Handler:           r,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		ErrorLog:          slog.NewLogLogger(r.opts.Log.Handler(), slog.LevelDebug),
		BaseContext:       func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
		ConnState:         open.track,
	}
	once := &onceListener{Listener: l}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(once) }()
	select {
	case err := <-failed:
		_ = server.Close()
		return fmt.Errorf("serve HTTP on %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	closed := once.Close()
	if err := <-failed; !errors.Is(err, net.ErrClosed) {
		closed = errors.Join(closed, err) // it was not the close that ended it
	}
	r.leaving.Store(true)
	defer r.leaving.Store(false)
	return errors.Join(closed, r.finish(context.WithoutCancel(ctx), server, &open))
}

// finish ends the connections: first those that ask once more, then the idle ones, then, when the grace is over, all.
// Upgraded ones have no end that could be waited for, and clients that know to reconnect.
func (r *Router) finish(ctx context.Context, server *http.Server, open *connections) error {
	grace, cancel := context.WithTimeout(ctx, r.opts.Grace)
	defer cancel()
	open.wait(grace, farewell)
	r.tunnels.closeAll()
	err := server.Shutdown(grace)
	if errors.Is(err, context.DeadlineExceeded) {
		r.opts.Log.Warn("requests were cut off at the end of the grace")
		err = server.Close()
		open.wait(ctx, farewell)
	}
	r.tunnels.closeAll() // those that were upgraded meanwhile
	r.tunnels.wait()
	if err != nil {
		return fmt.Errorf("stop serving: %w", err)
	}
	return nil
}

// onceListener can be closed twice: by Serve and by the server's Shutdown.
type onceListener struct {
	net.Listener
	once sync.Once
	err  error
}

func (l *onceListener) Close() error {
	l.once.Do(func() { l.err = l.Listener.Close() })
	return l.err
}

// connections counts the clients' that are open.
type connections struct {
	mu    sync.Mutex
	count int
	none  chan struct{} // closed when the count falls to zero; nil when nobody waits
}

func (c *connections) track(_ net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		c.add(1)
	case http.StateClosed, http.StateHijacked:
		c.add(-1)
	}
}

func (c *connections) add(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count += n
	if c.count == 0 && c.none != nil {
		close(c.none)
		c.none = nil
	}
}

// wait returns when none is open, or after the time, or when ctx ends.
func (c *connections) wait(ctx context.Context, atMost time.Duration) {
	c.mu.Lock()
	if c.count == 0 {
		c.mu.Unlock()
		return
	}
	none := make(chan struct{})
	c.none = none
	c.mu.Unlock()
	timer := time.NewTimer(atMost)
	defer timer.Stop()
	select {
	case <-none:
	case <-timer.C:
	case <-ctx.Done():
	}
}
