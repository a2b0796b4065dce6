package dns

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Bounds on what clients can make the server hold at one time.
const (
	maxForwards = 1024             // questions waiting for upstream; more are answered with "server failure"
	maxConns    = 256              // TCP connections
	idleTimeout = 10 * time.Second // of a TCP connection
	retryPause  = 100 * time.Millisecond
)

// Config is what a Server is told once.
type Config struct {
	Upstreams func() []netip.AddrPort // asked for what the table does not know; see ResolvConf
	Log       *slog.Logger            // nil: silence
}

// Sockets are where questions arrive: both on one address, as a rule port 53 of a network's gateway.
type Sockets struct {
	UDP net.PacketConn
	TCP net.Listener
}

// Server answers questions from its table, or from upstream.
type Server struct {
	upstreams func() []netip.AddrPort
	log       *slog.Logger
	table     *Table
	turn      atomic.Uint32
	forwards  chan struct{} // a place for each question that waits for upstream
	conns     chan struct{} // a place for each TCP connection

	mu      sync.Mutex
	sockets map[string]Sockets
	fresh   []Sockets     // not served yet
	nudge   chan struct{} // something is fresh
}

// New returns a server with an empty table that listens nowhere yet.
func New(c Config) *Server {
	log := c.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Server{
		upstreams: c.Upstreams, log: log, table: NewTable(), sockets: map[string]Sockets{}, nudge: make(chan struct{}, 1),
		forwards: make(chan struct{}, maxForwards), conns: make(chan struct{}, maxConns),
	}
}

// Set replaces the entries of these owners in the server's table, see Table.Set.
func (s *Server) Set(changes map[string]Entry) { s.table.Set(changes) }

// Add makes the server listen on sockets, under a name to Remove them by. They are the server's from then on.
func (s *Server) Add(name string, sockets Sockets) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, taken := s.sockets[name]; taken {
		return fmt.Errorf("name server listens as %q already", name)
	}
	s.sockets[name] = sockets
	s.fresh = append(s.fresh, sockets)
	select {
	case s.nudge <- struct{}{}:
	default:
	}
	return nil
}

// Remove closes the sockets of a name. That there are none is fine.
func (s *Server) Remove(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sockets, ok := s.sockets[name]; ok {
		sockets.close()
		delete(s.sockets, name)
	}
}

// Listening returns the names under which the server listens.
func (s *Server) Listening() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var names []string
	for name := range s.sockets {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (k Sockets) close() { _, _ = k.UDP.Close(), k.TCP.Close() }

// Run serves until ctx ends, then closes all sockets and returns when nothing of it runs any more.
func (s *Server) Run(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	defer s.closeAll()
	for {
		for _, sockets := range s.takeFresh() {
			running.Go(func() { s.serveUDP(ctx, sockets.UDP, &running) })
			running.Go(func() { s.serveTCP(ctx, sockets.TCP, &running) })
		}
		select {
		case <-s.nudge:
		case <-ctx.Done():
			return nil
		}
	}
}

func (s *Server) takeFresh() []Sockets {
	s.mu.Lock()
	defer s.mu.Unlock()
	fresh := s.fresh
	s.fresh = nil
	return fresh
}

func (s *Server) closeAll() {
	for _, name := range s.Listening() {
		s.Remove(name)
	}
}
