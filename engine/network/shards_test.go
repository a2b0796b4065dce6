package network

import (
	"bytes"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// tiny makes a network of one container on its first bridge and two on each of at most two shards.
var tiny = Config{Tag: testTag, BridgePorts: 3}

// crowd fills a network of tiny bridges: 2 is on the first, 3 and 4 on a shard, 5 and 6 on another.
func crowd(t *testing.T, m *Manager, n Network) map[byte]container {
	t.Helper()
	all := map[byte]container{}
	for last := byte(2); last <= 6; last++ {
		all[last], _ = attach6(t, m, n, last)
	}
	return all
}

func bridgeOf(t *testing.T, m *Manager, c container) string {
	t.Helper()
	link, err := netlink.LinkByName(m.vethName(newPlace(c.id, "")))
	must(t, err)
	bridge, err := netlink.LinkByIndex(link.Attrs().MasterIndex)
	must(t, err)
	return bridge.Attrs().Name
}

func TestShardsAreOneNetwork(t *testing.T) {
	onBothBridgeModes(t, func(t *testing.T) {
		m := newHostWith(t, tiny)
		world := outside6(t)
		serve(t, world, "world", 80)
		serveFamily(t, world, "world", 80, "6")
		serve(t, hostNS(t), "host", 8053)
		one, two := withIPv6(testNetwork(1)), withIPv6(testNetwork(2))
		s := State{Networks: []Network{one, two}}
		addr := func(last byte) netip.Addr { return netip.AddrFrom4([4]byte{10, 199, 1, last}) }
		for _, proto := range []string{"tcp", "udp"} {
			for last := byte(2); last <= 6; last++ {
				s.Publications = append(s.Publications, Publication{HostPort: 8080 + uint16(last), Protocol: proto,
					Backends: []netip.AddrPort{at(addr(last), 80), at(one.Addr6(addr(last)), 80)}})
			}
		}
		must(t, m.Apply(t.Context(), s))
		all := crowd(t, m, one)
		other, _ := attach6(t, m, two, 2)
		if got := []string{bridgeOf(t, m, all[2]), bridgeOf(t, m, all[4]), bridgeOf(t, m, all[6])}; !slices.Equal(got, []string{"nrte57-1", "nrte57-1-1", "nrte57-1-2"}) {
			t.Fatalf("the containers are on %v", got)
		}
		for last, c := range all {
			serve(t, c.ns, fmt.Sprint(last), 80)
			serveFamily(t, c.ns, fmt.Sprint(last), 80, "6")
		}
		for _, proto := range []string{"tcp", "udp"} {
			for last, c := range all {
				name, port := fmt.Sprint(last), 8080+uint16(last)
				expect(t, c.ns, proto, at(outsideAddr, 80), "world sees "+hostAddr.String())
				expect(t, c.ns, proto, at(one.Gateway, 8053), "host sees "+c.addr.String())
				expect(t, hostNS(t), proto, at(c.addr, 80), name+" sees "+one.Gateway.String())
				expect(t, hostNS(t), proto, at(localhost, port), name+" sees "+one.Gateway.String())
				expect(t, world, proto, at(hostAddr, port), name+" sees "+outsideAddr.String())
				expect(t, other.ns, proto, at(two.Gateway, port), name+" sees "+one.Gateway.String())
				for _, from := range all {
					if from != c {
						expect(t, from.ns, proto, at(c.addr, 80), name+" sees "+from.addr.String())
					}
					expect(t, from.ns, proto, at(hostAddr, port), name+" sees "+one.Gateway.String())
					expect(t, from.ns, proto, at(one.Gateway, port), name+" sees "+one.Gateway.String())
				}
			}
		}
		for _, c := range []container{all[2], all[3]} {
			expectNone(t, c.ns, "tcp", at(other.addr, 80))
			expectNone(t, other.ns, "tcp", at(c.addr, 80))
			expectNone(t, world, "tcp", at(c.addr, 80))
		}
		expect6(t, world, "tcp", at(hostAddr6, 8083), "3 sees "+outsideAddr6.String())
		expect6(t, all[3].ns, "tcp", at(outsideAddr6, 80), "world sees "+hostAddr6.String())
		far := one.Addr6(all[6].addr)
		for _, from := range []byte{2, 4, 5} {
			expect6(t, all[from].ns, "tcp", at(far, 80), "6 sees "+one.Addr6(all[from].addr).String())
			expect6(t, all[from].ns, "tcp", at(hostAddr6, 8086), "6 sees "+one.Gateway6.String())
			expect6(t, all[from].ns, "tcp", at(hostAddr6, 8080+uint16(from)), fmt.Sprint(from, " sees ", one.Gateway6))
		}
	})
}

// An internal network has no way out by its shards either, also for who sends to their own hardware addresses.
func TestShardsOfAnInternalNetwork(t *testing.T) {
	onBothBridgeModes(t, func(t *testing.T) {
		m := newHostWith(t, tiny)
		world := outside(t)
		serve(t, world, "world", 80)
		serve(t, hostNS(t), "host", 8053)
		n := testNetwork(1)
		n.Internal = true
		must(t, m.Apply(t.Context(), State{Networks: []Network{n}, Publications: []Publication{
			{HostPort: 8080, Protocol: "tcp", Backends: []netip.AddrPort{netip.MustParseAddrPort("10.199.1.4:80")}}}}))
		all := crowd(t, m, n)
		serve(t, all[4].ns, "4", 80)
		expect(t, all[6].ns, "tcp", at(all[4].addr, 80), "4 sees 10.199.1.6")
		expect(t, world, "tcp", at(hostAddr, 8080), "4 sees 10.199.1.1")
		expect(t, all[3].ns, "tcp", at(n.Gateway, 8080), "4 sees 10.199.1.1")
		addRoute(t, all[3].ns, n.Gateway)
		expectNone(t, all[3].ns, "tcp", at(outsideAddr, 80))
		shard, err := netlink.LinkByName(n.bridge(1))
		must(t, err)
		must(t, inNetNS(all[3].ns, func() error {
			return run("ip neigh replace " + n.Gateway.String() + " lladdr " + shard.Attrs().HardwareAddr.String() + " dev eth0")
		}))
		expectNone(t, all[3].ns, "tcp", at(outsideAddr, 80))
		expectNone(t, all[3].ns, "tcp", at(n.Gateway, 8053))
	})
}

func TestShardsComeAndGo(t *testing.T) {
	m := newHostWith(t, tiny)
	n := withIPv6(testNetwork(1))
	s := State{Networks: []Network{n}}
	before := kernelState(t)
	must(t, m.Apply(t.Context(), s))
	all := crowd(t, m, n)
	full := Endpoint{ID: "one too many", Addr: netip.MustParseAddr("10.199.1.9"), NetNS: newNetNS(t)}
	if err := m.Attach(t.Context(), n, full); err == nil || !strings.Contains(err.Error(), "at most 5 containers") {
		t.Errorf("got %v", err)
	}
	for last, c := range all {
		serve(t, c.ns, fmt.Sprint(last), 80)
		expect(t, all[6].ns, "tcp", at(c.addr, 80), fmt.Sprint(last, " sees 10.199.1.6"))
	}

	// What somebody takes away is put back, with everybody on it; and the daemon after a crash finds who sits where.
	for _, name := range []string{n.bridge(0), n.bridge(1), "ntte57-1-2"} {
		must(t, deleteLink(name))
		must(t, m.Apply(t.Context(), s))
	}
	later := New(tiny)
	t.Cleanup(func() { must(t, later.Close()) })
	must(t, later.Apply(t.Context(), s))
	for _, c := range all {
		later.Adopt(c.id, "", c.addr)
	}
	wantLeftovers(t, later)
	expect(t, all[3].ns, "tcp", at(all[5].addr, 80), "5 sees 10.199.1.3")
	expect(t, hostNS(t), "tcp", at(all[4].addr, 80), "4 sees 10.199.1.1")

	// A container that comes back on another shard is found there at once.
	expect(t, all[6].ns, "tcp", at(all[3].addr, 80), "3 sees 10.199.1.6")
	expect(t, all[2].ns, "tcp", at(all[3].addr, 80), "3 sees 10.199.1.2")
	must(t, later.Detach(t.Context(), all[3].id))
	must(t, later.Detach(t.Context(), all[5].id))
	must(t, later.Attach(t.Context(), n, full))
	moved, _ := attach6(t, later, n, 3)
	if got := bridgeOf(t, later, moved); got != n.bridge(2) {
		t.Fatalf("it came back on %s", got)
	}
	serve(t, moved.ns, "moved", 80)
	expect(t, all[6].ns, "tcp", at(moved.addr, 80), "moved sees 10.199.1.6")
	expect(t, all[2].ns, "tcp", at(moved.addr, 80), "moved sees 10.199.1.2")
	expect(t, hostNS(t), "tcp", at(moved.addr, 80), "moved sees 10.199.1.1")

	for _, id := range []string{full.ID, all[4].id, all[6].id, moved.id} {
		must(t, later.Detach(t.Context(), id))
	}
	must(t, later.Apply(t.Context(), s))
	wantLeftovers(t, later)
	if got := len(kernelState(t)) - len(before); got != 3 { // the first bridge, one pair, the table
		t.Errorf("shards stay behind: %v", kernelState(t))
	}
}

// Nobody is lost who comes while the last one leaves a shard.
func TestShardsUnderChurn(t *testing.T) {
	m := newHostWith(t, Config{Tag: testTag, BridgePorts: 6})
	n := testNetwork(1)
	s := State{Networks: []Network{n}}
	must(t, m.Apply(t.Context(), s))
	hub := attach(t, m, n, 2)
	serve(t, hub.ns, "hub", 80)
	var spaces []*os.File
	for range 8 {
		spaces = append(spaces, newNetNS(t))
	}
	errs := make(chan error)
	for i, ns := range spaces {
		e := Endpoint{ID: fmt.Sprint("churn-", i), Addr: netip.AddrFrom4([4]byte{10, 199, 1, byte(10 + i)}), NetNS: ns}
		go func() { errs <- churn(t, m, n, e, at(hub.addr, 80)) }()
	}
	for range spaces {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	must(t, m.Apply(t.Context(), s))
	wantLeftovers(t, m)
}

func churn(t *testing.T, m *Manager, n Network, e Endpoint, hub netip.AddrPort) error {
	for range 10 {
		if err := m.Attach(t.Context(), n, e); err != nil {
			return err
		}
		if got, err := ask(e.NetNS, "tcp", hub); err != nil || got != "hub sees "+e.Addr.String() {
			return fmt.Errorf("%s hears %q: %w", e.ID, got, err)
		}
		if err := m.Detach(t.Context(), e.ID); err != nil {
			return err
		}
		if err := m.Apply(t.Context(), State{Networks: []Network{n}}); err != nil {
			return err
		}
	}
	return nil
}

// A trunk whose bridge somebody took away is nobody's, and found.
func TestStrangeLinks(t *testing.T) {
	m := newHostWith(t, tiny)
	n := testNetwork(1)
	if got, err := m.StrangeLinks(t.Context()); err != nil || got != nil {
		t.Errorf("before anything is applied: %v, %v", got, err)
	}
	must(t, m.Apply(t.Context(), State{Networks: []Network{n}}))
	attach(t, m, n, 2)
	last := attach(t, m, n, 3)
	must(t, deleteLink(n.bridge(1)))
	must(t, m.Detach(t.Context(), last.id))
	must(t, m.Apply(t.Context(), State{Networks: []Network{n}}))
	got, err := m.StrangeLinks(t.Context())
	must(t, err)
	if want := []string{"ntte57-1-1", "ntte57-1-1s"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	for _, name := range append(got, n.bridge(0)) {
		must(t, m.RemoveStrangeLink(t.Context(), name))
	}
	wantLeftovers(t, m)
	if _, err := netlink.LinkByName(n.bridge(0)); err != nil {
		t.Errorf("a network's own bridge was removed: %v", err)
	}
}

func TestWayThroughATrunk(t *testing.T) {
	m := newHostWith(t, tiny)
	n := testNetwork(1)
	must(t, m.Apply(t.Context(), State{Networks: []Network{n}}))
	attach(t, m, n, 2)
	far := attach(t, m, n, 3)
	pid := processIn(t, far.ns)
	way := `
80/tcp
  rule : no rule leads here from a port of the host: only neighbours and the host itself reach it MISSING
  %s
  bridge nrte57-1-1: 10.199.1.1/32, up
  veth VETH: up
  inside eth0: 10.199.1.3/24, up
  process : nobody listens on port 80/tcp MISSING
`
	expectWays(t, m, Subject{PID: pid, Port: 80, Protocol: "tcp"}, fmt.Sprintf(way, "bridge nrte57-1: 10.199.1.1/24, up\n  trunk ntte57-1-1: up"))
	must(t, deleteLink("ntte57-1-1"))
	expectWays(t, m, Subject{PID: pid, Port: 80, Protocol: "tcp"}, fmt.Sprintf(way, "trunk : bridge nrte57-1-1 has no address of 10.199.1.3's network, nor a trunk to one that has MISSING"))
}

var large = flag.Bool("large", false, "also fill a network beyond a real bridge's ports")

// 1,100 pairs outgrow a real bridge. Most are in one namespace, for which they are cheap.
func TestMoreThanABridgeHasPorts(t *testing.T) {
	if !*large {
		t.Skip("makes 1,100 interfaces: run with -large, as make test-long does")
	}
	m := newHost(t)
	n := testNetwork(0)
	n.Subnet = netip.MustParsePrefix("10.199.0.0/20")
	n.Gateway = Gateway(n.Subnet)
	must(t, m.Apply(t.Context(), State{Networks: []Network{n}}))
	crowded, first, last := newNetNS(t), newNetNS(t), newNetNS(t)
	used := map[netip.Addr]bool{}
	join := func(id string, ns *os.File) netip.Addr {
		a, err := AllocateAddr(n, func(a netip.Addr) bool { return used[a] })
		must(t, err)
		used[a] = true
		must(t, m.Attach(t.Context(), n, Endpoint{ID: id, Interface: "eth" + strings.TrimLeft(id, "firstla"), Addr: a, Side: true, NetNS: ns}))
		return a
	}
	join("first0", first)
	for i := range 1100 {
		join(fmt.Sprint(i), crowded)
	}
	addr := join("last0", last)
	serve(t, last, "last", 80)
	expect(t, first, "tcp", at(addr, 80), "last sees 10.199.0.2")
	expect(t, hostNS(t), "tcp", at(addr, 80), "last sees 10.199.0.1")
	wantLeftovers(t, m)
}

// The bridges know where a container is before it has said a word.
func TestBridgesAreToldWhereAContainerIs(t *testing.T) {
	m := newHostWith(t, Config{Tag: testTag, BridgePorts: 3})
	n := testNetwork(1)
	must(t, m.Apply(t.Context(), State{Networks: []Network{n}}))
	attach(t, m, n, 2)
	onShard := attach(t, m, n, 3)
	near, _ := m.trunkEnds(n.bridge(1))
	mac := hardwareAddr(onShard.addr)
	for _, port := range []string{m.vethName(newPlace(onShard.id, "")), near} {
		link, err := netlink.LinkByName(port)
		must(t, err)
		known, err := netlink.NeighList(link.Attrs().Index, unix.AF_BRIDGE)
		must(t, err)
		if !slices.ContainsFunc(known, func(e netlink.Neigh) bool { return bytes.Equal(e.HardwareAddr, mac) }) {
			t.Errorf("nobody is known behind %s: %v", port, known)
		}
	}
}
