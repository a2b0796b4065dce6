package rootless

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"naru/naru"
)

// Forward is a port outside that leads to addresses inside.
type Forward struct {
	Protocol string // tcp or udp
	Address  string // outside, as net.Listen takes it
	To       []netip.AddrPort
}

// Sockets are where a Forwarder has its sockets outside from. A Keeper of them lets what comes in wait while no daemon
// runs.
type Sockets interface {
	Open(ctx context.Context, network, address string) (*os.File, error)
	Release(ctx context.Context, network, address string) error
}

// Forwarder carries what comes in at ports outside to addresses inside: between two networks of an ordinary user no rule
// of the kernel can lead.
type Forwarder struct {
	sockets Sockets
	mu      sync.Mutex
	ports   map[[2]string]*port // by protocol and address
}

// NewForwarder makes a Forwarder that carries nothing.
func NewForwarder(s Sockets) *Forwarder {
	return &Forwarder{sockets: s, ports: map[[2]string]*port{}}
}

// Set makes these the ports that are carried, and no others.
func (f *Forwarder) Set(ctx context.Context, want []Forward) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	var errs []error
	wanted := map[[2]string]bool{}
	for _, w := range want {
		key := [2]string{w.Protocol, w.Address}
		wanted[key] = true
		if f.ports[key] == nil {
			p, err := f.open(ctx, w)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			f.ports[key] = p
		}
		f.ports[key].to.Store(&w.To)
	}
	for key, p := range f.ports {
		if !wanted[key] {
			p.close()
			delete(f.ports, key)
			errs = append(errs, f.sockets.Release(ctx, key[0], key[1]))
		}
	}
	return errors.Join(errs...)
}

// Close stops carrying; the sockets stay with their keeper.
func (f *Forwarder) Close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for key, p := range f.ports {
		p.close()
		delete(f.ports, key)
	}
}

func (f *Forwarder) open(ctx context.Context, w Forward) (*port, error) {
	file, err := f.sockets.Open(ctx, w.Protocol, w.Address)
	if err != nil {
		return nil, ExplainPort(w.Protocol, w.Address, err)
	}
	defer file.Close()
	p := &port{}
	p.life, p.end = context.WithCancel(context.WithoutCancel(ctx)) // the port's own life, not that of who asked for it
	if w.Protocol == "udp" {
		return p, p.serveUDP(file)
	}
	return p, p.serveTCP(file)
}

// ExplainPort says in words why a port of the host cannot be had.
func ExplainPort(protocol, address string, err error) error {
	switch {
	case errors.Is(err, unix.EACCES):
		return naru.Errorf(naru.PermissionDenied, "port %s/%s: ordinary users may not have ports below 1024 (sysctl net.ipv4.ip_unprivileged_port_start): "+
			"choose a higher one", address, protocol)
	case errors.Is(err, unix.EADDRINUSE):
		return naru.Errorf(naru.Conflict, "port %s/%s of the host is taken by another program", address, protocol)
	}
	return fmt.Errorf("open port %s/%s: %w", address, protocol, err)
}

// port is one port that is carried.
type port struct {
	to      atomic.Pointer[[]netip.AddrPort]
	turn    atomic.Uint32
	socket  io.Closer
	life    context.Context
	end     context.CancelFunc
	serving sync.WaitGroup
}

func (p *port) close() {
	p.end()
	_ = p.socket.Close() // ends the serving; nothing can be lost
	p.serving.Wait()
}

// dial connects to the address whose turn it is.
func (p *port) dial(network string) (net.Conn, error) {
	to := *p.to.Load()
	if len(to) == 0 {
		return nil, errors.New("nobody is there")
	}
	at := to[int(p.turn.Add(1))%len(to)]
	var d net.Dialer
	return d.DialContext(p.life, network, at.String())
}

func (p *port) serveTCP(file *os.File) error {
	l, err := net.FileListener(file)
	if err != nil {
		return err
	}
	p.socket = l
	p.serving.Go(func() {
		for {
			conn, err := l.Accept()
			switch {
			case errors.Is(err, net.ErrClosed):
				return
			case err != nil:
				time.Sleep(acceptPause) // no descriptors, say: there may be some again
			default:
				p.serving.Go(func() { p.carry(conn.(*net.TCPConn)) })
			}
		}
	})
	return nil
}

// acceptPause is what follows a failed Accept.
const acceptPause = 10 * time.Millisecond

// carry carries a connection to its end, each direction by itself.
func (p *port) carry(outer *net.TCPConn) {
	defer outer.Close()
	conn, err := p.dial("tcp")
	if err != nil {
		_ = outer.SetLinger(0) // tells the caller that nobody is there, by a reset
		return
	}
	defer conn.Close()
	inner := conn.(*net.TCPConn)
	defer context.AfterFunc(p.life, func() { _, _ = outer.Close(), inner.Close() })()
	var half sync.WaitGroup
	half.Go(func() { pour(inner, outer) })
	pour(outer, inner)
	half.Wait()
}

// pour copies until from ends, and says so to to.
func pour(to, from *net.TCPConn) {
	if _, err := io.Copy(to, from); err != nil {
		_, _ = to.Close(), from.Close() // broken: the other direction is too
		return
	}
	_ = to.CloseWrite() // it may be gone
}

// flowIdle is how long a flow of packets is remembered after the last answer.
const flowIdle = time.Minute

// maxFlows bounds the flows of a port: whoever is outside makes them.
const maxFlows = 4096

// maxDatagram is the largest packet of UDP.
const maxDatagram = 65535

// flows are the UDP flows of a port, by who is outside.
type flows struct {
	*port
	outer *net.UDPConn
	mu    sync.Mutex
	inner map[netip.AddrPort]net.Conn
}

func (p *port) serveUDP(file *os.File) error {
	c, err := net.FilePacketConn(file)
	if err != nil {
		return err
	}
	s := &flows{port: p, outer: c.(*net.UDPConn), inner: map[netip.AddrPort]net.Conn{}}
	p.socket = c
	p.serving.Go(s.receive)
	return nil
}

func (s *flows) receive() {
	b := make([]byte, maxDatagram)
	for {
		n, from, err := s.outer.ReadFromUDPAddrPort(b)
		if s.life.Err() != nil {
			return
		}
		if err != nil {
			continue // an ICMP error of a packet that was sent before
		}
		if conn := s.flow(from); conn != nil {
			_, _ = conn.Write(b[:n]) // packets may be lost
		}
	}
}

// flow is the connection of who is outside, new when it has none.
func (s *flows) flow(from netip.AddrPort) net.Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	if conn := s.inner[from]; conn != nil {
		return conn
	}
	if len(s.inner) >= maxFlows {
		return nil
	}
	conn, err := s.dial("udp")
	if err != nil {
		return nil
	}
	s.inner[from] = conn
	s.serving.Go(func() {
		defer context.AfterFunc(s.life, func() { _ = conn.Close() })()
		s.answer(from, conn)
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.inner, from)
	})
	return conn
}

// answer carries what comes back until nothing does for a while.
func (s *flows) answer(to netip.AddrPort, conn net.Conn) {
	defer conn.Close()
	b := make([]byte, maxDatagram)
	for {
		_ = conn.SetReadDeadline(time.Now().Add(flowIdle)) // a closed one ends at the read
		n, err := conn.Read(b)
		if err != nil {
			return
		}
		_, _ = s.outer.WriteToUDPAddrPort(b[:n], to) // packets may be lost
	}
}
