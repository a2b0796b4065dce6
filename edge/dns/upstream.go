package dns

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// How long upstream may take. A client waits 5 seconds as a rule: it should hear from us before.
const (
	upstreamTimeout = 3 * time.Second
	upstreamHedge   = 400 * time.Millisecond // then the next server is asked as well
)

var errNoUpstream = errors.New("the host has no name servers")

// ask passes a query on to the upstreams, the next as soon as one fails or is slow, and returns the first good answer
// with the client's ID. A server's "I failed" or "I refuse" is returned only when no other server knows better.
func ask(ctx context.Context, q query, upstreams []netip.AddrPort, network string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, upstreamTimeout)
	r := race{ctx: ctx, q: q, upstreams: upstreams, network: network, results: make(chan result, len(upstreams))}
	defer r.running.Wait() // after cancel, which ends them
	defer cancel()
	return r.run()
}

// race asks several upstreams.
type race struct {
	ctx       context.Context
	q         query
	upstreams []netip.AddrPort // not asked yet
	network   string
	results   chan result
	running   sync.WaitGroup
	asked     int
}

type result struct {
	raw   []byte
	rcode dnsmessage.RCode
	err   error
}

func (r *race) run() ([]byte, error) {
	last := result{err: errNoUpstream}
	hedge := time.NewTicker(upstreamHedge)
	defer hedge.Stop()
	r.askNext()
	for r.asked > 0 {
		select {
		case <-hedge.C:
			r.askNext()
		case got := <-r.results:
			r.asked--
			if got.good() {
				return got.raw, nil
			}
			if got.raw != nil || last.raw == nil {
				last = got
			}
			r.askNext()
		}
	}
	return last.raw, last.err
}

func (r *race) askNext() {
	if len(r.upstreams) == 0 {
		return
	}
	server := r.upstreams[0]
	r.upstreams = r.upstreams[1:]
	r.asked++
	r.running.Go(func() {
		raw, rcode, err := exchange(r.ctx, r.q, server, r.network)
		r.results <- result{raw, rcode, err}
	})
}

func (r result) good() bool {
	return r.err == nil && r.rcode != dnsmessage.RCodeServerFailure && r.rcode != dnsmessage.RCodeRefused
}

// exchange asks one server over a socket of its own: the kernel then takes answers from that server only, to a port
// that nobody can foresee.
func exchange(ctx context.Context, q query, server netip.AddrPort, network string) ([]byte, dnsmessage.RCode, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, server.String())
	if err != nil {
		return nil, 0, fmt.Errorf("ask name server: %w", err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()

	id := uint16(rand.Uint32())
	raw := slices.Clone(q.raw)
	binary.BigEndian.PutUint16(raw, id)
	var answer []byte
	var rcode dnsmessage.RCode
	if network == "tcp" {
		answer, rcode, err = exchangeTCP(conn, q, raw, id)
	} else {
		answer, rcode, err = exchangeUDP(conn, q, raw, id)
	}
	if err != nil {
		return nil, 0, fmt.Errorf("ask name server %s: %w", server, err)
	}
	binary.BigEndian.PutUint16(answer, q.header.ID)
	return answer, rcode, nil
}

// exchangeUDP passes over what is not the answer: it may be forged, and the true one may still come.
func exchangeUDP(conn net.Conn, q query, raw []byte, id uint16) ([]byte, dnsmessage.RCode, error) {
	if _, err := conn.Write(raw); err != nil {
		return nil, 0, err
	}
	buf := make([]byte, ednsLimit)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return nil, 0, err
		}
		if rcode, ok := q.answers(buf[:n], id); ok {
			return buf[:n], rcode, nil
		}
	}
}

func exchangeTCP(conn net.Conn, q query, raw []byte, id uint16) ([]byte, dnsmessage.RCode, error) {
	if err := writeFramed(conn, raw); err != nil {
		return nil, 0, err
	}
	answer, err := readFramed(conn)
	if err != nil {
		return nil, 0, err
	}
	rcode, ok := q.answers(answer, id)
	if !ok {
		return nil, 0, errors.New("it answered something else")
	}
	return answer, rcode, nil
}

// readFramed reads a message as it is sent over TCP: after its length.
func readFramed(r io.Reader) ([]byte, error) {
	var length [2]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, err
	}
	msg := make([]byte, binary.BigEndian.Uint16(length[:]))
	_, err := io.ReadFull(r, msg)
	return msg, err
}

func writeFramed(w io.Writer, msg []byte) error {
	if len(msg) > tcpLimit {
		return errors.New("message too long")
	}
	_, err := w.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(msg))), msg...))
	return err
}

// ResolvConf returns the name servers in a resolv.conf, read anew when the file changes.
func ResolvConf(path string) func() []netip.AddrPort {
	var (
		mu      sync.Mutex
		read    os.FileInfo
		servers []netip.AddrPort
	)
	return func() []netip.AddrPort {
		mu.Lock()
		defer mu.Unlock()
		now, err := os.Stat(path)
		if err != nil {
			return servers
		}
		if read != nil && os.SameFile(read, now) && read.ModTime().Equal(now.ModTime()) && read.Size() == now.Size() {
			return servers
		}
		f, err := os.Open(path)
		if err != nil {
			return servers
		}
		defer f.Close()
		read, servers = now, parseResolvConf(f)
		return servers
	}
}

// parseResolvConf reads the lines "nameserver ADDRESS".
func parseResolvConf(r io.Reader) []netip.AddrPort {
	var servers []netip.AddrPort
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 2 || fields[0] != "nameserver" {
			continue
		}
		if a, err := netip.ParseAddr(fields[1]); err == nil {
			servers = append(servers, netip.AddrPortFrom(a.Unmap(), 53))
		}
	}
	return servers
}
