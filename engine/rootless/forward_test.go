package rootless

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"naru/naru"
)

// asked are sockets outside, opened by the real way of asking for them.
type asked struct {
	*Outside
	released []string
}

func (a *asked) Open(_ context.Context, network, address string) (*os.File, error) {
	return a.Listen(network, address)
}

func (a *asked) Release(_ context.Context, network, address string) error {
	a.released = append(a.released, network+" "+address)
	return nil
}

func ask(t *testing.T) *asked {
	t.Helper()
	ours, theirs, err := OutsidePair()
	must(t, err)
	served := make(chan struct{})
	go func() {
		defer close(served)
		ServeOutside(t.Context(), ours)
	}()
	conn, err := unixConn(theirs)
	must(t, err)
	o := &Outside{conn: conn}
	t.Cleanup(func() {
		must(t, o.Close())
		<-served
		must(t, ours.Close())
	})
	return &asked{Outside: o}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// freePort is a port of 127.0.0.1 that nobody has.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	return l.Addr().String()
}

// echo answers on 127.0.0.1 with what it hears.
func echo(t *testing.T) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	u, err := net.ListenPacket("udp", l.Addr().String())
	must(t, err)
	t.Cleanup(func() { l.Close(); u.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() { defer conn.Close(); io.Copy(conn, conn) }()
		}
	}()
	go func() {
		b := make([]byte, 100)
		for {
			n, from, err := u.ReadFrom(b)
			if err != nil {
				return
			}
			u.WriteTo(b[:n], from)
		}
	}()
	return netip.MustParseAddrPort(l.Addr().String())
}

func carry(protocol, address string, to netip.AddrPort) Forward {
	return Forward{Protocol: protocol, Address: address, To: []netip.AddrPort{to}}
}

func TestForwarderCarriesBothDirectionsToTheirEnds(t *testing.T) {
	sockets, to, address := ask(t), echo(t), freePort(t)
	f := NewForwarder(sockets)
	defer f.Close()
	must(t, f.Set(t.Context(), []Forward{carry("tcp", address, to), carry("udp", address, to)}))

	conn, err := net.Dial("tcp", address)
	must(t, err)
	defer conn.Close()
	must(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
	text := strings.Repeat("boat ", 1<<16)
	go func() {
		io.WriteString(conn, text)
		conn.(*net.TCPConn).CloseWrite() // only then the echo, and so the answer, ends
	}()
	if got, err := io.ReadAll(conn); err != nil || string(got) != text {
		t.Errorf("%d bytes came back of %d, %v", len(got), len(text), err)
	}

	udp, err := net.Dial("udp", address)
	must(t, err)
	defer udp.Close()
	for _, packet := range []string{"one", "two"} {
		_, err = udp.Write([]byte(packet))
		must(t, err)
		b := make([]byte, 100)
		must(t, udp.SetReadDeadline(time.Now().Add(20*time.Second)))
		if n, err := udp.Read(b); err != nil || string(b[:n]) != packet {
			t.Errorf("packet %q came back as %q, %v", packet, b[:n], err)
		}
	}
}

func TestForwarderTakesPortsBack(t *testing.T) {
	sockets, to, address := ask(t), echo(t), freePort(t)
	f := NewForwarder(sockets)
	defer f.Close()
	must(t, f.Set(t.Context(), []Forward{carry("tcp", address, to)}))
	open, err := net.Dial("tcp", address)
	must(t, err)
	defer open.Close()
	must(t, f.Set(t.Context(), nil))
	if len(sockets.released) != 1 || sockets.released[0] != "tcp "+address {
		t.Errorf("released %v", sockets.released)
	}
	for began := time.Now(); ; { // who opened the socket may hold it for a moment more
		conn, err := net.Dial("tcp", address)
		if errors.Is(err, unix.ECONNREFUSED) {
			break
		}
		if time.Since(began) > 20*time.Second {
			t.Fatalf("a port that was taken back: %v", err)
		}
		if err == nil {
			must(t, conn.Close())
		}
	}
	must(t, open.SetReadDeadline(time.Now().Add(20*time.Second)))
	if _, err := open.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a connection through it lives on: %v", err)
	}
}

// What cannot be had is said in words, and does not keep the other ports from being carried.
func TestForwarderNamesThePortThatCannotBeHad(t *testing.T) {
	sockets, to, address := ask(t), echo(t), freePort(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer taken.Close()
	f := NewForwarder(sockets)
	defer f.Close()
	err = f.Set(t.Context(), []Forward{carry("tcp", taken.Addr().String(), to), carry("tcp", address, to)})
	if naru.CodeOf(err) != naru.Conflict || !strings.Contains(err.Error(), taken.Addr().String()) {
		t.Errorf("a port that is taken: %v", err)
	}
	conn, err := net.Dial("tcp", address)
	must(t, err)
	must(t, conn.Close())
	if err := ExplainPort("tcp", ":80", unix.EACCES); !strings.Contains(err.Error(), "below 1024") {
		t.Errorf("a low port: %v", err)
	}
	if _, err := sockets.Listen("tcp", "nowhere:http:x"); err == nil {
		t.Error("an address that is none")
	}
}
