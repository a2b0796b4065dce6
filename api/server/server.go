// Package server is the daemon's side of the API: it receives HTTP requests on the daemon's socket, checks them, asks the
// hop that owns the noun, and writes the answer. It owns nothing; the interfaces it asks through are declared here, one
// noun a file, with the handlers that use them.
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"naru/api"
	"naru/naru"
)

// Config is what the server answers from.
type Config struct {
	Version    string // of the program
	Delivery   Delivery
	Apps       Apps
	Instances  Instances
	Logs       Logs
	Processes  Processes
	Containers Containers
	Lifecycle  Lifecycle
	Files      Files
	Volumes    Volumes
	System     System
	Networks   Networks
	Images     Images
	Sessions   Sessions
	Log        *slog.Logger
}

// Server answers API requests.
type Server struct {
	cfg     Config
	handler http.Handler

	streams sync.WaitGroup // upgraded connections, which http.Server.Shutdown does not know
	life    context.Context
	end     context.CancelFunc
}

// New makes a server; Serve runs it. The context bounds every request.
func New(ctx context.Context, cfg Config) *Server {
	s := &Server{cfg: cfg}
	s.life, s.end = context.WithCancel(ctx)
	s.handler = s.withVersion(s.routes())
	return s
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

// shutdownGrace bounds how long requests may take to notice that the daemon ends.
const shutdownGrace = 3 * time.Second

// Serve answers requests from the listener until ctx ends; then it cancels the requests under way and waits for them.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	hs := &http.Server{
		Handler: s, ReadHeaderTimeout: 10 * time.Second, MaxHeaderBytes: 64 << 10,
		BaseContext: func(net.Listener) context.Context { return s.life },
		ErrorLog:    slog.NewLogLogger(s.cfg.Log.Handler(), slog.LevelDebug),
	}
	done := make(chan error, 1)
	go func() { done <- hs.Serve(l) }()
	select {
	case err := <-done:
		s.end()
		return fmt.Errorf("serve the API: %w", err)
	case <-ctx.Done():
	}
	s.end()
	err := s.shutdown(context.WithoutCancel(ctx), hs)
	if serr := <-done; !errors.Is(serr, http.ErrServerClosed) {
		err = errors.Join(err, serr)
	}
	return err
}

func (s *Server) shutdown(ctx context.Context, hs *http.Server) error {
	ctx, cancel := context.WithTimeout(ctx, shutdownGrace)
	defer cancel()
	err := hs.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = hs.Close()
	}
	s.streams.Wait()
	return err
}

// handle makes a handler of a function that returns an error: every error of the API is written here.
func (s *Server) handle(f func(http.ResponseWriter, *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		err := f(w, r)
		if err == nil || errors.Is(err, errAnswered) {
			return
		}
		if naru.CodeOf(err) == naru.Internal && r.Context().Err() == nil {
			s.cfg.Log.Error("answer a request", "method", r.Method, "path", r.URL.Path, "err", err)
		}
		writeJSON(w, api.Status(naru.CodeOf(err)), api.ToError(err))
	}
}

// errAnswered is returned by handlers that have told the client about their failure already.
var errAnswered = errors.New("already answered")

// withVersion refuses clients of another protocol version and stamps ours on every answer.
func (s *Server) withVersion(next http.Handler) http.Handler {
	return s.handle(func(w http.ResponseWriter, r *http.Request) error {
		w.Header().Set(api.VersionHeader, api.Version)
		if v := r.Header.Get(api.VersionHeader); v != "" && v != api.Version {
			return naru.Errorf(naru.FailedPrecondition, "the client speaks API version %s, this daemon %s: use the naru the daemon was started from, or restart the daemon with the newer one", v, api.Version)
		}
		next.ServeHTTP(w, r)
		return nil
	})
}
