package network

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"naru/internal/testkit"
)

func TestBackendsTakeTurns(t *testing.T) {
	m := newHost(t)
	n := testNetwork(1)
	a, b := netip.MustParseAddrPort("10.199.1.2:80"), netip.MustParseAddrPort("10.199.1.3:81")
	s := State{Networks: []Network{n}}
	for _, proto := range []string{"tcp", "udp"} {
		s.Publications = append(s.Publications, Publication{HostPort: 8080, Protocol: proto, Backends: []netip.AddrPort{a, b}})
	}
	must(t, m.Apply(t.Context(), s))
	serve(t, attach(t, m, n, 2).ns, "a", 80)
	serve(t, attach(t, m, n, 3).ns, "b", 81)
	for _, proto := range []string{"tcp", "udp"} {
		seen := map[string]int{}
		for range 6 {
			got, err := ask(hostNS(t), proto, at(localhost, 8080))
			must(t, err)
			seen[got[:1]]++
		}
		if seen["a"] != 3 || seen["b"] != 3 {
			t.Errorf("%s: answers by backend: %v, want 3 each", proto, seen)
		}
	}
}

// A connection that stands is not cut when its backend is taken out of the port: a rollout drains it first. New ones,
// and those of UDP, which never end by themselves, go to the new backend at once.
func TestChangingBackends(t *testing.T) {
	m := newHost(t)
	n := testNetwork(1)
	port := func(backends ...string) State {
		s := State{Networks: []Network{n}}
		for _, proto := range []string{"tcp", "udp"} {
			p := Publication{HostPort: 8080, Protocol: proto}
			for _, b := range backends {
				p.Backends = append(p.Backends, netip.MustParseAddrPort(b))
			}
			s.Publications = append(s.Publications, p)
		}
		return s
	}
	must(t, m.Apply(t.Context(), port()))
	old, next := attach(t, m, n, 2), attach(t, m, n, 3)
	serve(t, next.ns, "new", 80)
	udp := talk(t, "udp", 8080)
	udp.say(t, "") // nobody is there yet: the kernel remembers this flow as one to the host itself

	must(t, m.Apply(t.Context(), port("10.199.1.2:80")))
	echo := listen(t, old, 80)
	tcp := talk(t, "tcp", 8080)
	server, err := echo.Accept()
	must(t, err)
	defer server.Close()

	must(t, m.Apply(t.Context(), port("10.199.1.3:80")))
	_, err = server.Write([]byte("still here"))
	must(t, err)
	tcp.hear(t, "still here")
	expect(t, hostNS(t), "tcp", at(localhost, 8080), "new sees 10.199.1.1")
	udp.say(t, "new sees 10.199.1.1")

	must(t, m.Detach(t.Context(), old.id))
	if flows := flowsBy(t, old.addr); len(flows) != 0 {
		t.Errorf("flows to a container that is gone: %v", flows)
	}
}

// What ended while no daemon ran leaves flows too: they must not lead to who gets its address next. What runs on keeps
// them, and ends with them although nothing is published to it any more.
func TestFlowsAreTakenOver(t *testing.T) {
	m := newHost(t)
	n := testNetwork(1)
	s := State{Networks: []Network{n}}
	publish := func(port uint16, backend string) {
		for _, proto := range []string{"tcp", "udp"} {
			s.Publications = append(s.Publications,
				Publication{HostPort: port, Protocol: proto, Backends: []netip.AddrPort{netip.MustParseAddrPort(backend)}})
		}
	}
	publish(8082, "10.199.1.2:80")
	publish(8083, "10.199.1.3:80")
	must(t, m.Apply(t.Context(), s))
	gone, stays := attach(t, m, n, 2), attach(t, m, n, 3)
	serve(t, gone.ns, "gone", 80)
	echo := listen(t, stays, 80)
	talk(t, "udp", 8082).say(t, "gone sees 10.199.1.1")
	talk(t, "tcp", 8082).hear(t, "gone sees 10.199.1.1")
	tcp := talk(t, "tcp", 8083)
	server, err := echo.Accept()
	must(t, err)
	defer server.Close()
	if flows := flowsBy(t, gone.addr); len(flows) != 2 {
		t.Fatalf("flows: %v", flows)
	}

	later := New(Config{Tag: testTag})
	defer later.Close()
	later.Adopt(stays.id, "", stays.addr)
	s.Publications = nil
	must(t, later.Apply(t.Context(), s))
	if flows := flowsBy(t, gone.addr); len(flows) != 0 {
		t.Errorf("flows to a container that is gone: %v", flows)
	}
	_, err = server.Write([]byte("still here"))
	must(t, err)
	tcp.hear(t, "still here")
	must(t, later.Detach(t.Context(), stays.id))
	if flows := flowsBy(t, stays.addr); len(flows) != 0 {
		t.Errorf("flows to a container that is gone: %v", flows)
	}
}

func listen(t *testing.T, c container, port uint16) net.Listener {
	t.Helper()
	var l net.Listener
	must(t, inNetNS(c.ns, func() (err error) {
		l, err = net.ListenTCP("tcp4", net.TCPAddrFromAddrPort(at(c.addr, port)))
		return err
	}))
	t.Cleanup(func() { l.Close() })
	return l
}

// peer is a connection that a test keeps.
type peer struct{ net.Conn }

func talk(t *testing.T, proto string, port uint16) peer {
	t.Helper()
	c, err := net.DialTimeout(proto+"4", at(localhost, port).String(), patience)
	must(t, err)
	t.Cleanup(func() { c.Close() })
	return peer{c}
}

func (p peer) hear(t *testing.T, want string) {
	t.Helper()
	buf := make([]byte, 64)
	_ = p.SetReadDeadline(time.Now().Add(patience))
	k, err := p.Read(buf)
	if got := string(buf[:k]); got != want {
		t.Errorf("heard %q, %v; want %q", got, err, want)
	}
}

func (p peer) say(t *testing.T, want string) {
	t.Helper()
	if _, err := p.Write([]byte("who?")); err != nil {
		t.Error(err)
	}
	p.hear(t, want)
}

func flowsBy(t *testing.T, addr netip.Addr) []*netlink.ConntrackFlow {
	t.Helper()
	all, err := netlink.ConntrackTableList(netlink.ConntrackTable, netlink.FAMILY_V4)
	must(t, err)
	return slices.DeleteFunc(all, func(f *netlink.ConntrackFlow) bool { return !flowsTo([]netip.Addr{addr})(f) })
}

// A port that leads nowhere any more is refused, not left hanging.
func TestPortWithoutBackends(t *testing.T) {
	m := newHost(t)
	must(t, m.Apply(t.Context(), State{Networks: []Network{testNetwork(1)}, Publications: []Publication{{HostPort: 8080, Protocol: "tcp"}}}))
	if _, err := ask(hostNS(t), "tcp", at(localhost, 8080)); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("got %v, want: connection refused", err)
	}
}

// openedToTheWorld has "a" behind the host's published port 8080.
func openedToTheWorld(t *testing.T) (world *os.File) {
	t.Helper()
	m := newHost(t)
	world = outside(t)
	n := testNetwork(1)
	must(t, m.Apply(t.Context(), State{Networks: []Network{n}, Publications: []Publication{
		{HostPort: 8080, Protocol: "tcp", Backends: []netip.AddrPort{netip.MustParseAddrPort("10.199.1.2:80")}}}}))
	a := attach(t, m, n, 2)
	serve(t, a.ns, "a", 80)
	return world
}

// A host's own firewall keeps the last word over published ports, in the ways that docs/ports.md tells.
func TestHostFirewallStays(t *testing.T) {
	world := openedToTheWorld(t)
	for rule, holds := range map[string]bool{
		"forward priority -10; }; add rule inet fw f ip saddr " + outsideAddr.String() + " drop":      true,
		"forward priority 10; }; add rule inet fw f ip saddr " + outsideAddr.String() + " drop":       true,
		"forward priority 10; policy drop; }":                                                         true,
		"forward priority 10; }; add rule inet fw f meta l4proto tcp ct original proto-dst 8080 drop": true,
		"prerouting priority -150; }; add rule inet fw f tcp dport 8080 drop":                         true,
		"forward priority 10; }; add rule inet fw f tcp dport 8080 drop":                              false,
		"input priority 10; policy drop; }":                                                           false,
		"input priority -10; }; add rule inet fw f tcp dport 8080 drop":                               false,
	} {
		nft(t, "add table inet fw; add chain inet fw f { type filter hook "+rule)
		if holds {
			expectNone(t, world, "tcp", at(hostAddr, 8080))
		} else {
			expect(t, world, "tcp", at(hostAddr, 8080), "a sees "+outsideAddr.String())
		}
		nft(t, "delete table inet fw")
	}
}

// So does one of iptables.
func TestHostFirewallOfIptablesStays(t *testing.T) {
	testkit.RequireCommand(t, "iptables")
	world := openedToTheWorld(t)
	for _, rule := range []string{"-P FORWARD DROP", "-I FORWARD -m conntrack --ctorigdstport 8080 -j DROP"} {
		must(t, run("iptables "+rule))
		expectNone(t, world, "tcp", at(hostAddr, 8080))
		nft(t, "delete table ip filter")
	}
	expect(t, world, "tcp", at(hostAddr, 8080), "a sees "+outsideAddr.String())
}

// The example of docs/ports.md closes what it says it closes.
func TestFirewallOfTheDocs(t *testing.T) {
	text, err := os.ReadFile("../../docs/ports.md")
	if errors.Is(err, os.ErrNotExist) { // in the virtual machine
		t.Skip("needs the documents:", err)
	}
	must(t, err)
	_, rest, _ := strings.Cut(string(text), "```nft\n")
	example, _, ok := strings.Cut(rest, "```")
	if !ok {
		t.Fatal("there is no example")
	}
	m := newHost(t)
	world := outside(t)
	n := testNetwork(1)
	backend := []netip.AddrPort{netip.MustParseAddrPort("10.199.1.2:80")}
	must(t, m.Apply(t.Context(), State{Networks: []Network{n}, Publications: []Publication{
		{HostPort: 443, Protocol: "tcp", Backends: backend}, {HostPort: 8080, Protocol: "tcp", Backends: backend},
		{HostPort: 8080, Protocol: "udp", Backends: backend}}}))
	a := attach(t, m, n, 2)
	serve(t, a.ns, "a", 80)
	nft(t, strings.ReplaceAll(example, "eth0", "lan0"))
	expect(t, world, "tcp", at(hostAddr, 443), "a sees "+outsideAddr.String())
	expectNone(t, world, "tcp", at(hostAddr, 8080))
	expectNone(t, world, "udp", at(hostAddr, 8080))
	expect(t, hostNS(t), "tcp", at(hostAddr, 8080), "a sees "+hostAddr.String())
	nft(t, "delete table inet firewall")
}

func TestDetachAndLeftovers(t *testing.T) {
	m := newHost(t)
	n := testNetwork(1)
	must(t, m.Apply(t.Context(), State{Networks: []Network{n}}))
	a, b := attach(t, m, n, 2), attach(t, m, n, 3)
	for range 2 {
		must(t, m.Detach(t.Context(), a.id))
	}
	wantLeftovers(t, m)

	later := New(Config{Tag: testTag}) // the daemon after a crash
	wantLeftovers(t, later, "bridge "+n.Bridge, "nftables table inet "+tableName(testTag),
		"veth "+m.vethName(newPlace(b.id, ""))+" of "+b.id+" (10.199.1.3)")
	must(t, later.Apply(t.Context(), State{Networks: []Network{n}}))
	later.Adopt(b.id, "", b.addr)
	wantLeftovers(t, later)
	must(t, later.Detach(t.Context(), b.id))
	wantLeftovers(t, later)
	wantLeftovers(t, New(Config{Tag: "0000"}))
}

func TestEmptyStateIsNoLeftover(t *testing.T) {
	m := newHost(t)
	must(t, m.Apply(t.Context(), State{}))
	wantLeftovers(t, m)
}

func wantLeftovers(t *testing.T, m *Manager, want ...string) {
	t.Helper()
	got, err := m.leftovers(t.Context())
	must(t, err)
	if !slices.Equal(got, want) {
		t.Errorf("leftovers %q, want %q", got, want)
	}
}

// A container that starts again gets its place although the kernel has not yet taken down the former one.
func TestAttachAgain(t *testing.T) {
	m := newHost(t)
	n := testNetwork(1)
	must(t, m.Apply(t.Context(), State{Networks: []Network{n}}))
	attach(t, m, n, 2)
	again := attach(t, m, n, 2)
	other := attach(t, m, n, 3)
	serve(t, again.ns, "again", 80)
	expect(t, other.ns, "tcp", at(again.addr, 80), "again sees 10.199.1.3")
}

func TestAttachRefuses(t *testing.T) {
	m := newHost(t)
	n := testNetwork(1)
	e := Endpoint{ID: "x", Addr: netip.MustParseAddr("10.199.1.2"), NetNS: newNetNS(t)}
	if err := m.Attach(t.Context(), n, e); err == nil || !strings.Contains(err.Error(), "has not been applied") {
		t.Errorf("got %v", err)
	}
	must(t, m.Apply(t.Context(), State{Networks: []Network{n}}))
	e.Addr = n.Gateway
	if err := m.Attach(t.Context(), n, e); err == nil || !strings.Contains(err.Error(), "is not an address for a container") {
		t.Errorf("got %v", err)
	}
	must(t, deleteLink(n.Bridge)) // behind the Manager's back
	e.Addr = n.Gateway.Next()
	if err := m.Attach(context.Background(), n, e); err == nil {
		t.Error("attached to a bridge that is gone")
	}
	must(t, m.Apply(t.Context(), State{Networks: []Network{n}}))
	wantLeftovers(t, m)
}

func TestHostSubnets(t *testing.T) {
	m := newHost(t)
	outside(t)
	must(t, run("ip route add 10.77.0.0/16 via "+outsideAddr.String()))
	must(t, run("ip route add default via "+outsideAddr.String()))
	must(t, m.Apply(t.Context(), State{Networks: []Network{testNetwork(1)}}))
	got, err := HostSubnets(t.Context(), testTag)
	must(t, err)
	slices.SortFunc(got, netip.Prefix.Compare)
	if want := "[10.77.0.0/16 198.51.100.0/24]"; fmt.Sprint(got) != want {
		t.Errorf("got %v, want %s", got, want)
	}
}

func TestManyAtOnce(t *testing.T) {
	m := newHost(t)
	n := testNetwork(1)
	s := State{Networks: []Network{n}}
	must(t, m.Apply(t.Context(), s))
	var spaces []*os.File
	for range 16 {
		spaces = append(spaces, newNetNS(t))
	}
	errs := make(chan error)
	for i, ns := range spaces {
		e := Endpoint{ID: fmt.Sprint("many-", i), Addr: netip.AddrFrom4([4]byte{10, 199, 1, byte(10 + i)}), NetNS: ns}
		go func() {
			errs <- errors.Join(m.Attach(t.Context(), n, e), m.Apply(t.Context(), s), m.Detach(t.Context(), e.ID))
		}()
	}
	for range spaces {
		must(t, <-errs)
	}
	wantLeftovers(t, m)
}
