package dns

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// serveUDP answers from the table at once, and lets what goes upstream wait aside.
func (s *Server) serveUDP(ctx context.Context, conn net.PacketConn, running *sync.WaitGroup) {
	buf := make([]byte, ednsLimit)
	for {
		n, from, err := conn.ReadFrom(buf)
		if err != nil {
			if s.ended(ctx, err) {
				return
			}
			continue
		}
		q, reply := s.answer(addrOf(from), buf[:n], 0)
		if q != nil {
			q.raw = slices.Clone(q.raw)
			reply = s.forwardAside(ctx, running, addrOf(from), *q, func(reply []byte) { _, _ = conn.WriteTo(reply, from) })
		}
		if reply != nil {
			_, _ = conn.WriteTo(reply, from) // a client that is gone is no concern
		}
	}
}

// forwardAside asks upstream and sends the answer when it comes; with no place left it returns what to say at once.
func (s *Server) forwardAside(ctx context.Context, running *sync.WaitGroup, client netip.Addr, q query, send func([]byte)) []byte {
	select {
	case s.forwards <- struct{}{}:
	default:
		return q.say(dnsmessage.RCodeServerFailure)
	}
	running.Go(func() {
		defer func() { <-s.forwards }()
		reply := s.forward(ctx, client, q, "udp")
		if len(reply) > q.limit {
			reply = q.truncated()
		}
		send(reply)
	})
	return nil
}

// serveTCP accepts connections as long as there are places; others wait to be accepted.
func (s *Server) serveTCP(ctx context.Context, l net.Listener, running *sync.WaitGroup) {
	for {
		select {
		case s.conns <- struct{}{}:
		case <-ctx.Done():
			return
		}
		conn, err := l.Accept()
		if err != nil {
			<-s.conns
			if s.ended(ctx, err) {
				return
			}
			continue
		}
		running.Go(func() {
			defer func() { <-s.conns }()
			s.serveConn(ctx, conn)
		})
	}
}

// serveConn answers one question after the other until the client has no more, or ctx ends.
func (s *Server) serveConn(ctx context.Context, conn net.Conn) {
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	for {
		_ = conn.SetDeadline(time.Now().Add(idleTimeout))
		raw, err := readFramed(conn)
		if err != nil {
			return
		}
		q, reply := s.answer(addrOf(conn.RemoteAddr()), raw, tcpLimit)
		if q != nil {
			reply = s.forward(ctx, addrOf(conn.RemoteAddr()), *q, "tcp")
		}
		if reply == nil || writeFramed(conn, reply) != nil {
			return
		}
	}
}

// answer replies from the table, or returns the query when that is upstream's business. Without both there is nothing
// to say. A limit of 0 is the client's own.
func (s *Server) answer(client netip.Addr, raw []byte, limit int) (*query, []byte) {
	q, rcode, err := parseQuery(raw)
	if err != nil {
		return nil, nil
	}
	if rcode != dnsmessage.RCodeSuccess {
		return nil, q.say(rcode)
	}
	a := s.table.resolve(client, q.question)
	if a.forward {
		return &q, nil
	}
	return nil, q.reply(a, s.turn.Add(1), max(q.limit, limit))
}

// forward asks upstream. When nobody there answers, the client hears so, rather than nothing.
func (s *Server) forward(ctx context.Context, client netip.Addr, q query, network string) []byte {
	upstreams := s.table.upstreams(client)
	if len(upstreams) == 0 {
		upstreams = s.others()
	}
	reply, err := ask(ctx, q, upstreams, network)
	if err != nil {
		s.log.Debug("forward question", "name", q.question.Name.String(), "error", err)
		return q.say(dnsmessage.RCodeServerFailure)
	}
	return reply
}

// others returns the upstreams without this server itself, which a host's resolv.conf may well name.
func (s *Server) others() []netip.AddrPort {
	if s.upstreams == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	own := map[string]bool{}
	for _, k := range s.sockets {
		own[k.UDP.LocalAddr().String()] = true
	}
	return slices.DeleteFunc(slices.Clone(s.upstreams()), func(a netip.AddrPort) bool { return own[a.String()] })
}

// ended tells whether a socket was closed on purpose. Other errors pass, or come back: there is a pause between them.
func (s *Server) ended(ctx context.Context, err error) bool {
	if errors.Is(err, net.ErrClosed) {
		return true
	}
	s.log.Warn("receive question", "error", err)
	select {
	case <-time.After(retryPause):
		return false
	case <-ctx.Done():
		return true
	}
}

func addrOf(a net.Addr) netip.Addr {
	ap, _ := netip.ParseAddrPort(a.String())
	return ap.Addr().Unmap()
}
