package network

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// withIPv6 gives the i-th network of the tests the i-th IPv6 subnet.
func withIPv6(n Network) Network {
	b := [16]byte{0: 0xfd, 3: n.Subnet.Addr().As4()[2]}
	n.Subnet6 = netip.PrefixFrom(netip.AddrFrom16(b), 64)
	n.Gateway6 = Gateway(n.Subnet6)
	return n
}

var (
	hostAddr6    = netip.MustParseAddr("2001:db8::1")
	outsideAddr6 = netip.MustParseAddr("2001:db8::2")
)

// outside6 is outside with IPv6 on the wire.
func outside6(t *testing.T) *os.File {
	t.Helper()
	ns := outside(t)
	give := func(dev string, addr netip.Addr) error {
		link, err := netlink.LinkByName(dev)
		if err != nil {
			return err
		}
		ip := &net.IPNet{IP: addr.AsSlice(), Mask: net.CIDRMask(64, 128)}
		return netlink.AddrAdd(link, &netlink.Addr{IPNet: ip, Flags: unix.IFA_F_NODAD})
	}
	must(t, give("lan0", hostAddr6))
	must(t, inNetNS(ns, func() error { return give("lan1", outsideAddr6) }))
	return ns
}

func attach6(t *testing.T, m *Manager, n Network, last byte) (container, netip.Addr) {
	t.Helper()
	c := container{t, "container6-" + n.Name + string('0'+rune(last)), n.Subnet.Addr(), newNetNS(t)}
	for range last {
		c.addr = c.addr.Next()
	}
	six := n.Addr6(c.addr)
	must(t, m.Attach(t.Context(), n, Endpoint{ID: c.id, Addr: c.addr, Addr6: six, NetNS: c.ns}))
	return c, six
}

func TestIPv6(t *testing.T) {
	if _, err := os.Stat("/proc/sys/net/ipv6"); err != nil {
		t.Skip("this kernel has no IPv6")
	}
	onBothBridgeModes(t, func(t *testing.T) {
		m := newHost(t)
		world := outside6(t)
		serveFamily(t, world, "world", 80, "6")
		one, two := withIPv6(testNetwork(1)), withIPv6(testNetwork(2))
		s := State{Networks: []Network{one, two}}
		selfAddr := one.Addr6(netip.MustParseAddr("10.199.1.2"))
		for _, proto := range []string{"tcp", "udp"} {
			s.Publications = append(s.Publications,
				Publication{HostPort: 8080, Protocol: proto, Backends: []netip.AddrPort{netip.MustParseAddrPort("10.199.1.2:80"), at(selfAddr, 80)}},
				Publication{HostIP: hostAddr6, HostPort: 8082, Protocol: proto, Backends: []netip.AddrPort{at(selfAddr, 80)}})
		}
		must(t, m.Apply(t.Context(), s))
		self, six := attach6(t, m, one, 2)
		neighbour, _ := attach6(t, m, one, 3)
		other, _ := attach6(t, m, two, 2)
		serve(t, self.ns, "self", 80)
		serveFamily(t, self.ns, "self", 80, "6")
		for _, proto := range []string{"tcp", "udp"} {
			expect6(t, neighbour.ns, proto, at(six, 80), "self sees "+one.Addr6(neighbour.addr).String())
			expect6(t, hostNS(t), proto, at(six, 80), "self sees "+one.Gateway6.String())
			expect6(t, self.ns, proto, at(outsideAddr6, 80), "world sees "+hostAddr6.String())
			expect6(t, world, proto, at(hostAddr6, 8080), "self sees "+outsideAddr6.String())
			expect6(t, world, proto, at(hostAddr, 8080), "self sees "+outsideAddr.String())
			expect6(t, world, proto, at(hostAddr6, 8082), "self sees "+outsideAddr6.String())
			expect6(t, hostNS(t), proto, at(hostAddr6, 8080), "self sees "+hostAddr6.String())
			expect6(t, other.ns, proto, at(two.Gateway6, 8080), "self sees "+one.Gateway6.String())
			expect6(t, neighbour.ns, proto, at(one.Gateway6, 8080), "self sees "+one.Gateway6.String())
			expect6(t, self.ns, proto, at(hostAddr6, 8080), "self sees "+one.Gateway6.String())
		}
		if bridgedPassIPv6Rules() {
			// The kernel drops answers to ::1. It must be refused, not left hanging.
			if _, err := ask(hostNS(t), "tcp", at(netip.IPv6Loopback(), 8080)); !errors.Is(err, unix.ECONNREFUSED) {
				t.Errorf("::1 is not refused: %v", err)
			}
		} else {
			expectLoopback6(t, m, s, two.Bridge, one.Gateway6)
		}
		expectNone(t, other.ns, "tcp", at(six, 80))
		expectNone(t, world, "tcp", at(six, 80))
	})
}

// A prefix that is routed to the host needs no translation, and is no way in but for published ports.
func TestRoutedPrefix(t *testing.T) {
	if _, err := os.Stat("/proc/sys/net/ipv6"); err != nil {
		t.Skip("this kernel has no IPv6")
	}
	m := newHost(t)
	world := outside6(t)
	serveFamily(t, world, "world", 80, "6")
	n := testNetwork(1)
	n.Subnet6 = netip.MustParsePrefix("2001:db8:7::/64")
	n.Gateway6 = Gateway(n.Subnet6)
	six := n.Addr6(netip.MustParseAddr("10.199.1.2"))
	must(t, m.Apply(t.Context(), State{Networks: []Network{n}, Publications: []Publication{
		{HostPort: 8080, Protocol: "tcp", Backends: []netip.AddrPort{at(six, 80)}}}}))
	self, _ := attach6(t, m, n, 2)
	neighbour, _ := attach6(t, m, n, 3)
	serveFamily(t, self.ns, "self", 80, "6")
	must(t, inNetNS(world, func() error { return run("ip -6 route add 2001:db8:7::/64 via " + hostAddr6.String()) }))
	for _, proto := range []string{"tcp", "udp"} {
		expect6(t, self.ns, proto, at(outsideAddr6, 80), "world sees "+six.String())
	}
	expect6(t, world, "tcp", at(hostAddr6, 8080), "self sees "+outsideAddr6.String())
	expect6(t, neighbour.ns, "tcp", at(hostAddr6, 8080), "self sees "+n.Gateway6.String())
	expectNone(t, world, "tcp", at(six, 80))
}

// expectLoopback6 asks for published ports on ::1, also after a bridge was down, and for the host's own.
func expectLoopback6(t *testing.T, m *Manager, s State, bridge string, client netip.Addr) {
	t.Helper()
	serveFamily(t, hostNS(t), "host", 8053, "6")
	for _, proto := range []string{"tcp", "udp"} {
		s.Publications = append(s.Publications, Publication{HostIP: netip.IPv6Loopback(), HostPort: 8084, Protocol: proto,
			Backends: s.Publications[0].Backends})
	}
	for range 2 {
		must(t, m.Apply(t.Context(), s))
		for _, proto := range []string{"tcp", "udp"} {
			for _, port := range []uint16{8080, 8084} {
				expect6(t, hostNS(t), proto, at(netip.IPv6Loopback(), port), "self sees "+client.String())
			}
			expect6(t, hostNS(t), proto, at(netip.IPv6Loopback(), 8053), "host sees ::1")
		}
		must(t, run("ip link set "+bridge+" down"))
		must(t, run("ip link set "+s.Networks[0].Bridge+" down"))
	}
	must(t, m.Apply(t.Context(), s))
}

// expect6 waits longer than expect: the kernel joins the group by which an address is asked for from a work queue, and
// who asks before asks again a second later.
func expect6(t *testing.T, ns *os.File, proto string, to netip.AddrPort, want string) {
	t.Helper()
	got, err := askFrom(ns, proto, to, nil, patience)
	if err != nil || got != want {
		t.Errorf("%s %s: got %q, %v; want %q", proto, to, got, err, want)
	}
}

// An address that only one container has need not be asked for among all neighbours.
func TestNobodyIsAskedForAnAddress(t *testing.T) {
	if _, err := os.Stat("/proc/sys/net/ipv6"); err != nil {
		t.Skip("this kernel has no IPv6")
	}
	m := newHost(t)
	n := withIPv6(testNetwork(1))
	must(t, m.Apply(t.Context(), State{Networks: []Network{n}}))
	c, _ := attach6(t, m, n, 2)
	must(t, inNetNS(c.ns, func() error {
		for _, dev := range []string{"all", inside} { // the kernel asks where either says so
			text, err := os.ReadFile("/proc/sys/net/ipv6/conf/" + dev + "/accept_dad")
			if got := strings.TrimSpace(string(text)); err != nil || got != "0" {
				t.Errorf("accept_dad of %s is %q, %v", dev, got, err)
			}
		}
		return nil
	}))
}
