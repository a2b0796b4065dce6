package network

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// BenchmarkAttach measures joining a container to a network, until its first connection to a neighbour stands.
func BenchmarkAttach(b *testing.B) {
	m := newHost(b)
	n := testNetwork(1)
	must(b, m.Apply(b.Context(), State{Networks: []Network{n}}))
	first := attach(b, m, n, 2)
	serve(b, first.ns, "first", 80)
	var joined, pairs, insides, connected []time.Duration
	for b.Loop() {
		b.StopTimer()
		ns := newNetNS(b)
		e := Endpoint{ID: fmt.Sprint("bench-", b.N, "-", len(joined)), Interface: inside, Addr: netip.AddrFrom4([4]byte{10, 199, 1, 9}), NetNS: ns}
		bridge, _ := m.bridgeIndex(n.Bridge)
		b.StartTimer()
		start := time.Now()
		c, err := openConversation()
		must(b, err)
		must(b, m.createPair(c, m.vethName(e.place()), bridge, e))
		pair := time.Now()
		must(b, m.configureInside(n, e))
		in := time.Now()
		must(b, errors.Join(c.settle(m.vethName(e.place())), c.settle(n.Bridge)))
		end := time.Now()
		c.close()
		b.StopTimer()
		if _, err := askFrom(ns, "tcp", at(first.addr, 80), nil, 5*time.Second); err != nil {
			b.Error(err)
		}
		pairs, joined = append(pairs, pair.Sub(start)), append(joined, end.Sub(start))
		insides = append(insides, in.Sub(pair))
		connected = append(connected, time.Since(end))
		must(b, deleteLink(m.vethName(e.place())))
		b.StartTimer()
	}
	b.ReportMetric(us(pairs, 0.5), "pair-µs")
	b.ReportMetric(us(insides, 0.5), "inside-µs")
	b.ReportMetric(us(joined, 0.5), "median-µs")
	b.ReportMetric(us(joined, 0.95), "p95-µs")
	b.ReportMetric(us(connected, 0.5), "connected-µs")
	b.ReportMetric(us(connected, 1), "connected-worst-µs")
}

func us(all []time.Duration, quantile float64) float64 {
	slices.Sort(all)
	return float64(all[int(quantile*float64(len(all)-1))].Microseconds())
}

// BenchmarkApply measures bringing a small change to the kernel, and finding that there is none.
func BenchmarkApply(b *testing.B) {
	for _, changing := range []bool{true, false} {
		b.Run(fmt.Sprintf("changing=%t", changing), func(b *testing.B) {
			m := newHost(b)
			s := fullState()
			for i := 0; b.Loop(); i++ {
				if changing {
					s.Publications[0].HostPort = uint16(8000 + i%2)
				}
				must(b, m.Apply(b.Context(), s))
			}
		})
	}
}

// BenchmarkPublishedPort compares a byte's way through a published port with the direct one, and a connection's.
func BenchmarkPublishedPort(b *testing.B) {
	m := newHost(b)
	n := testNetwork(1)
	backend := netip.MustParseAddrPort("10.199.1.2:80")
	must(b, m.Apply(b.Context(), State{Networks: []Network{n}, Publications: []Publication{{HostPort: 8080, Protocol: "tcp", Backends: []netip.AddrPort{backend}}}}))
	c := attach(b, m, n, 2)
	serve(b, c.ns, "c", 80)
	var sink net.Listener
	must(b, inNetNS(c.ns, func() (err error) { sink, err = net.Listen("tcp4", ":81"); return err }))
	defer sink.Close()
	must(b, m.Apply(b.Context(), State{Networks: []Network{n}, Publications: []Publication{
		{HostPort: 8080, Protocol: "tcp", Backends: []netip.AddrPort{backend}},
		{HostPort: 8081, Protocol: "tcp", Backends: []netip.AddrPort{at(c.addr, 81)}}}}))
	for name, to := range map[string]netip.AddrPort{"direct": at(c.addr, 80), "published": at(n.Gateway, 8080)} {
		b.Run("connection/"+name, func(b *testing.B) {
			for b.Loop() {
				if _, err := ask(hostNS(b), "tcp", to); err != nil {
					b.Fatal(err)
				}
			}
		})
		stream := netip.AddrPortFrom(to.Addr(), to.Port()+1)
		b.Run("stream/"+name, func(b *testing.B) { benchStream(b, sink, stream) })
	}
}

func benchStream(b *testing.B, sink net.Listener, to netip.AddrPort) {
	done := make(chan error)
	go func() {
		conn, err := sink.Accept()
		if err == nil {
			_, err = io.Copy(io.Discard, struct{ io.Reader }{conn})
			conn.Close()
		}
		done <- err
	}()
	conn, err := net.Dial("tcp4", to.String())
	must(b, err)
	piece := make([]byte, 64<<10)
	b.SetBytes(int64(len(piece)))
	for b.Loop() {
		if _, err := conn.Write(piece); err != nil {
			b.Fatal(err)
		}
	}
	conn.Close()
	must(b, <-done)
}
