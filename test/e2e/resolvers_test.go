package e2e

import (
	"encoding/binary"
	"encoding/json"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"naru/internal/testkit"
)

// world is a name server beyond naru's, where a container's --dns leads. It knows addresses by name.
type world map[string][]netip.Addr

// worldAddr is where it answers: the loopback has more addresses than the one that the machine's own may have taken.
var worldAddr = netip.MustParseAddr("127.83.65.1")

// serve answers until the test ends, over UDP as much as clients without EDNS take.
func (w world) serve(t *testing.T) {
	t.Helper()
	address := netip.AddrPortFrom(worldAddr, 53).String()
	udp, err := net.ListenPacket("udp", address)
	if err != nil {
		t.Fatalf("answer names: %v", err)
	}
	tcp, err := net.Listen("tcp", address)
	if err != nil {
		udp.Close()
		t.Fatalf("answer names: %v", err)
	}
	done := make(chan struct{}, 2)
	go func() { w.serveUDP(udp); done <- struct{}{} }()
	go func() { w.serveTCP(tcp); done <- struct{}{} }()
	t.Cleanup(func() { udp.Close(); tcp.Close(); <-done; <-done })
}

func (w world) serveUDP(conn net.PacketConn) {
	buf := make([]byte, 4096)
	for {
		n, from, err := conn.ReadFrom(buf)
		if err != nil {
			return
		}
		_, _ = conn.WriteTo(w.answer(buf[:n], 20), from) // a question without an answer fails the test
	}
}

func (w world) serveTCP(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		var length [2]byte
		_, err = io.ReadFull(conn, length[:])
		question := make([]byte, binary.BigEndian.Uint16(length[:]))
		if err == nil {
			_, err = io.ReadFull(conn, question)
		}
		if reply := w.answer(question, 1000); err == nil {
			_, _ = conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(reply))), reply...))
		}
		conn.Close()
	}
}

// answer has so many records at most, and says when there are more.
func (w world) answer(question []byte, most int) []byte {
	var m dnsmessage.Message
	if err := m.Unpack(question); err != nil || len(m.Questions) != 1 {
		return nil
	}
	q := m.Questions[0]
	addrs, known := w[strings.TrimSuffix(q.Name.String(), ".")]
	reply := dnsmessage.Message{Header: dnsmessage.Header{ID: m.ID, Response: true, RecursionAvailable: true}, Questions: m.Questions}
	if !known {
		reply.RCode = dnsmessage.RCodeNameError
	}
	for _, a := range addrs {
		if body, kind := record(a); kind == q.Type {
			header := dnsmessage.ResourceHeader{Name: q.Name, Type: kind, Class: q.Class}
			reply.Answers = append(reply.Answers, dnsmessage.Resource{Header: header, Body: body})
		}
	}
	if len(reply.Answers) > most {
		reply.Truncated, reply.Answers = true, reply.Answers[:most]
	}
	raw, err := reply.Pack()
	if err != nil {
		return nil
	}
	return raw
}

func record(a netip.Addr) (dnsmessage.ResourceBody, dnsmessage.Type) {
	if a.Is4() {
		return &dnsmessage.AResource{A: a.As4()}, dnsmessage.TypeA
	}
	return &dnsmessage.AAAAResource{AAAA: a.As16()}, dnsmessage.TypeAAAA
}

// Programs use a C library's resolver, or Go's. Each finds in a container what there is to find.
func TestNamesForEveryResolver(t *testing.T) {
	programs := testkit.LookupPrograms(t, "/lookup")
	many := make([]netip.Addr, 200)
	for i := range many {
		many[i] = netip.AddrFrom4([4]byte{198, 51, 100, byte(i)})
	}
	six := netip.MustParseAddr("2001:db8::6")
	world{"www.example": many[1:2], "six.example": {six}, "many.example": many, "intranet.corp.example": many[2:3]}.serve(t)

	d := start(t)
	before := d.Kernel()
	d.OK("network", "create", "front")
	run := func(name string, more ...string) endpoint {
		args := append([]string{"container", "run", "-d", "--name", name, "--network", "front", "--network-alias", "api"}, more...)
		d.OK(append(args, busybox, "sleep", "1000000")...)
		return endpointOn(t, d, name, "front")
	}
	one, two := run("one"), run("two")
	run("asker", "--dns", worldAddr.String(), "-v", programs+":/lookup:ro", "--network-alias", "asks")
	d.OK("up", ready("one").write(t))
	instance := d.Instances("hello", "web")[0]
	web := endpointOn(t, d, string(instance.ID), "")
	d.OK("network", "connect", web.Network, "asker")
	d.OK("container", "exec", "asker", "sh", "-c", "echo search corp.example >>/etc/resolv.conf")

	for _, who := range []string{"musl", "glibc", "go"} {
		lookup := func(kind, name string) string {
			words := strings.Fields(d.Naru("container", "exec", "asker", "/lookup/"+who, kind, name).Stdout)
			slices.Sort(words)
			return strings.Join(words, " ")
		}
		for _, c := range []struct{ kind, name, want string }{
			{"ip4", "one", one.Addr.String()},
			{"ip", "one", one.addrs()},
			{"ip6", "two", two.addr6()},
			{"ip4", "ONE", one.Addr.String()},
			{"ip4", "asks", endpointOn(t, d, "asker", "front").Addr.String()},
			{"ip4", "web", web.Addr.String()},
			{"ip4", "nobody", ""},
			{"ip4", "nobody.example", ""},
			{"ip", "www.example", many[1].String()},
			{"ip", "six.example", six.String()},
			{"ip4", "six.example", ""},
			{"ip4", "intranet", many[2].String()},
			{"name", one.Addr.String(), "one"},
		} {
			if who == "musl" && c.name == "intranet" {
				c.want = "" // it searches no domain with ndots:0
			}
			if got := lookup(c.kind, c.name); got != c.want {
				t.Errorf("%s finds %s %s: %q, want %q", who, c.kind, c.name, got, c.want)
			}
		}
		if got := len(strings.Fields(lookup("ip4", "many.example"))); got != len(many) && (who != "musl" || got < 20) {
			t.Errorf("%s finds %d addresses of %d", who, got, len(many))
		}
	}
	d.OK("down", "-a", "hello")
	d.OK("container", "rm", "-f", "asker", "one", "two")
	d.OK("network", "rm", "front")
	d.Settles(before)
}

// endpoint is a container's place on a network.
type endpoint struct {
	Network     string
	Addr, Addr6 netip.Addr
}

func (e endpoint) addr6() string {
	if e.Addr6.IsValid() {
		return e.Addr6.String()
	}
	return "" // this kernel has no IPv6
}

func (e endpoint) addrs() string { return strings.TrimSpace(e.Addr.String() + " " + e.addr6()) }

// endpointOn finds a container's place on a network; on its first with "".
func endpointOn(t *testing.T, d *testkit.Daemon, container, network string) endpoint {
	t.Helper()
	var all []struct{ Endpoints []endpoint }
	if err := json.Unmarshal([]byte(d.OK("container", "inspect", container)), &all); err != nil || len(all) != 1 {
		t.Fatalf("inspect %s: %v", container, err)
	}
	for _, at := range all[0].Endpoints {
		if network == "" || at.Network == network {
			return at
		}
	}
	t.Fatalf("%s has no place on network %q: %+v", container, network, all[0].Endpoints)
	return endpoint{}
}
