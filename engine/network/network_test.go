package network

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func at(a netip.Addr, port uint16) netip.AddrPort { return netip.AddrPortFrom(a, port) }

var localhost = netip.AddrFrom4([4]byte{127, 0, 0, 1})

// onBothBridgeModes runs a test with and without bridged packets passing the IP rules: Docker switches that on, and it
// changes the way of a packet through the kernel.
func onBothBridgeModes(t *testing.T, test func(t *testing.T)) {
	for _, mode := range []string{"0", "1"} {
		t.Run("bridge-nf-call-iptables="+mode, func(t *testing.T) {
			setBridgeMode(t, mode)
			test(t)
		})
	}
}

func setBridgeMode(t *testing.T, mode string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: makes network namespaces")
	}
	for _, sysctl := range []string{"bridge-nf-call-iptables", "bridge-nf-call-ip6tables"} {
		if err := writeSysctl("bridge/"+sysctl, mode); err != nil && mode == "1" {
			t.Skip("this kernel has no br_netfilter:", err)
		}
	}
}

func TestContainersReachEachOther(t *testing.T) {
	onBothBridgeModes(t, func(t *testing.T) {
		m := newHost(t)
		n := testNetwork(1)
		must(t, m.Apply(t.Context(), State{Networks: []Network{n}}))
		a, b := attach(t, m, n, 2), attach(t, m, n, 3)
		serve(t, b.ns, "b", 80)
		serve(t, hostNS(t), "host", 8053)
		for _, proto := range []string{"tcp", "udp"} {
			expect(t, a.ns, proto, at(b.addr, 80), "b sees 10.199.1.2")
			expect(t, hostNS(t), proto, at(b.addr, 80), "b sees 10.199.1.1")
			expect(t, a.ns, proto, at(n.Gateway, 8053), "host sees 10.199.1.2")
			expect(t, b.ns, proto, at(localhost, 80), "b sees 127.0.0.1")
		}
	})
}

// IPv6 is off where a neighbour could announce itself as a router, and nowhere else.
func TestNoIPv6Routers(t *testing.T) {
	m := newHost(t)
	n := testNetwork(1)
	must(t, m.Apply(t.Context(), State{Networks: []Network{n}}))
	a := attach(t, m, n, 2)
	disabled := func(dev string) string {
		b, err := os.ReadFile("/proc/sys/net/ipv6/conf/" + dev + "/disable_ipv6")
		if errors.Is(err, os.ErrNotExist) {
			t.Skip("this kernel has no IPv6")
		}
		return strings.TrimSpace(string(b))
	}
	if got := disabled(n.Bridge); got != "1" {
		t.Errorf("bridge: disable_ipv6 is %s", got)
	}
	must(t, inNetNS(a.ns, func() error {
		if eth, lo := disabled("eth0"), disabled("lo"); eth != "1" || lo != "0" {
			t.Errorf("disable_ipv6 is %s on eth0 and %s on lo", eth, lo)
		}
		return nil
	}))
}

// Nobody could use an address of a bridge's port, or a route by it, and with a thousand containers they would be in every
// list.
func TestPortsOfBridgesHaveNoIPv6(t *testing.T) {
	m := newHostWith(t, Config{Tag: testTag, BridgePorts: 3})
	outside(t)
	must(t, run("ip route add default via "+outsideAddr.String()))
	n := withIPv6(testNetwork(1))
	must(t, m.Apply(t.Context(), State{Networks: []Network{n}}))
	for last := range byte(4) { // on three bridges, with trunks between them
		attach6(t, m, n, last+2)
	}
	routes, err := netlink.RouteListFiltered(netlink.FAMILY_V6, &netlink.Route{Table: unix.RT_TABLE_LOCAL}, netlink.RT_FILTER_TABLE)
	must(t, err)
	ports := 0
	all, err := links()
	must(t, err)
	for _, l := range all {
		if strings.HasPrefix(l.name(), vethPrefix(testTag)) || strings.HasPrefix(l.name(), trunkPrefix(testTag)) {
			ports++
			if len(l.addrs) > 0 {
				t.Errorf("%s has %v", l.name(), l.addrs)
			}
			for _, r := range routes {
				if r.LinkIndex == l.index() {
					t.Errorf("%s has the route %s", l.name(), r)
				}
			}
		}
	}
	if ports != 8 {
		t.Errorf("%d ports, want 4 of containers and 4 of trunks", ports)
	}
}

// The kernel has no IPv6 on an interface whose packets are too small for it.
func TestAttachWithSmallPackets(t *testing.T) {
	m := newHost(t)
	world := outside(t)
	serve(t, world, "world", 80)
	must(t, run("ip link set lan0 mtu 1000"))
	must(t, run("ip route add default via "+outsideAddr.String()))
	n := testNetwork(1)
	must(t, m.Apply(t.Context(), State{Networks: []Network{n}}))
	a := attach(t, m, n, 2)
	expect(t, a.ns, "tcp", at(outsideAddr, 80), "world sees "+hostAddr.String())
}

func TestNetworksAreApart(t *testing.T) {
	onBothBridgeModes(t, func(t *testing.T) {
		m := newHost(t)
		one, two, internal := testNetwork(1), testNetwork(2), testNetwork(3)
		internal.Internal = true
		world := outside(t)
		serve(t, world, "world", 80)
		must(t, m.Apply(t.Context(), State{Networks: []Network{one, two, internal}}))
		a, b, c, d := attach(t, m, one, 2), attach(t, m, two, 2), attach(t, m, internal, 2), attach(t, m, internal, 3)
		for _, x := range []container{a, b, c} {
			serve(t, x.ns, x.id, 80)
		}
		addRoute(t, c.ns, internal.Gateway) // a container that may change its routes still gets nowhere
		addRoute(t, world, hostAddr)        // a neighbour of the host that routes into its networks

		for _, proto := range []string{"tcp", "udp"} {
			expect(t, a.ns, proto, at(outsideAddr, 80), "world sees "+hostAddr.String())
			expect(t, d.ns, proto, at(c.addr, 80), c.id+" sees "+d.addr.String())
		}
		expectNone(t, a.ns, "tcp", at(b.addr, 80))
		expectNone(t, b.ns, "udp", at(a.addr, 80))
		expectNone(t, a.ns, "tcp", at(c.addr, 80))
		expectNone(t, c.ns, "tcp", at(a.addr, 80))
		expectNone(t, c.ns, "tcp", at(outsideAddr, 80))
		expectNone(t, d.ns, "tcp", at(outsideAddr, 80))
		expectNone(t, world, "tcp", at(a.addr, 80))
		expectNone(t, world, "tcp", at(c.addr, 80))
	})
}

// addRoute sends everything that a namespace does not know over a gateway.
func addRoute(t *testing.T, ns *os.File, gateway netip.Addr) {
	t.Helper()
	must(t, inNetNS(ns, func() error { return netlink.RouteAdd(&netlink.Route{Gw: gateway.AsSlice()}) }))
}

func TestPublishedPortFromEverywhere(t *testing.T) {
	onBothBridgeModes(t, func(t *testing.T) {
		m := newHost(t)
		world := outside(t)
		one, two, internal := testNetwork(1), testNetwork(2), testNetwork(3)
		internal.Internal = true
		s := State{Networks: []Network{one, two, internal}}
		for _, proto := range []string{"tcp", "udp"} {
			s.Publications = append(s.Publications,
				Publication{HostPort: 8080, Protocol: proto, Backends: []netip.AddrPort{netip.MustParseAddrPort("10.199.1.2:80")}},
				Publication{HostIP: localhost, HostPort: 8081, Protocol: proto, Backends: []netip.AddrPort{netip.MustParseAddrPort("10.199.1.2:80")}},
				Publication{HostPort: 8083, Protocol: proto, Backends: []netip.AddrPort{netip.MustParseAddrPort("10.199.3.2:80")}})
		}
		must(t, m.Apply(t.Context(), s))
		self, neighbour, other, hidden := attach(t, m, one, 2), attach(t, m, one, 3), attach(t, m, two, 2), attach(t, m, internal, 2)
		serve(t, self.ns, "self", 80)
		serve(t, hidden.ns, "hidden", 80)

		for _, proto := range []string{"tcp", "udp"} {
			expect(t, hostNS(t), proto, at(localhost, 8080), "self sees 10.199.1.1")
			expect(t, hostNS(t), proto, at(hostAddr, 8080), "self sees "+hostAddr.String())
			expect(t, world, proto, at(hostAddr, 8080), "self sees "+outsideAddr.String())
			expect(t, other.ns, proto, at(hostAddr, 8080), "self sees 10.199.1.1")
			expect(t, other.ns, proto, at(two.Gateway, 8080), "self sees 10.199.1.1")
			expect(t, neighbour.ns, proto, at(hostAddr, 8080), "self sees 10.199.1.1")
			expect(t, neighbour.ns, proto, at(one.Gateway, 8080), "self sees 10.199.1.1")
			expect(t, self.ns, proto, at(hostAddr, 8080), "self sees 10.199.1.1")
			expect(t, hostNS(t), proto, at(localhost, 8081), "self sees 10.199.1.1")
			expect(t, hostNS(t), proto, at(localhost, 8083), "hidden sees 10.199.3.1")
			expect(t, world, proto, at(hostAddr, 8083), "hidden sees 10.199.3.1")
		}
		expectNone(t, world, "tcp", at(hostAddr, 8081))
		expectNone(t, other.ns, "tcp", at(two.Gateway, 8081))
	})
}

// A port on 127.0.0.1 must stay the host's own although the bridges have route_localnet: neither a neighbour of the
// host nor a container may reach it by sending packets for 127.0.0.1 to the host's hardware address.
func TestLoopbackIsNotReachableFromOutside(t *testing.T) {
	m := newHost(t)
	world := outside(t)
	n := testNetwork(1)
	must(t, m.Apply(t.Context(), State{Networks: []Network{n}, Publications: []Publication{
		{HostIP: localhost, HostPort: 8081, Protocol: "tcp", Backends: []netip.AddrPort{netip.MustParseAddrPort("10.199.1.2:80")}},
	}}))
	a, b := attach(t, m, n, 2), attach(t, m, n, 3)
	serve(t, a.ns, "a", 80)
	serve(t, hostNS(t), "host", 9000)
	expect(t, hostNS(t), "tcp", at(localhost, 8081), "a sees 10.199.1.1")

	routeLoopback(t, world, "lan1", hostAddr)
	routeLoopback(t, b.ns, "eth0", n.Gateway)
	for _, port := range []uint16{8081, 9000} {
		for _, from := range []struct {
			ns   *os.File
			addr netip.Addr
		}{{world, outsideAddr}, {b.ns, b.addr}} {
			local := net.TCPAddrFromAddrPort(at(from.addr, 0))
			if got, err := askFrom(from.ns, "tcp", at(localhost, port), local, 150e6); err == nil {
				t.Errorf("port %d of the host's loopback answered %s: %q", port, from.addr, got)
			}
		}
	}
}

// routeLoopback sends a namespace's packets for 127.0.0.1 to a machine next to it.
func routeLoopback(t *testing.T, ns *os.File, dev string, via netip.Addr) {
	t.Helper()
	for _, cmd := range []string{
		"sysctl -qw net.ipv4.conf.all.route_localnet=1 net.ipv4.conf." + dev + ".route_localnet=1",
		"ip route add table 10 127.0.0.1 via " + via.String() + " dev " + dev,
		"ip rule add pref 1 to 127.0.0.1 lookup 10",
		"ip rule add pref 2 lookup local",
		"ip rule del pref 0",
	} {
		must(t, inNetNS(ns, func() error { return run(cmd) }))
	}
}

// run is for what only the tests do.
func run(cmd string) error {
	words := strings.Fields(cmd)
	out, err := exec.Command(words[0], words[1:]...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s (needs: apt-get install iproute2 procps)", cmd, err, out)
	}
	return nil
}
