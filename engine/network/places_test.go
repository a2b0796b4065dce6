package network

import (
	"net"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"
)

// A container on two networks reaches both, and the world by the first.
func TestContainerOnSeveralNetworks(t *testing.T) {
	m := newHost(t)
	world := outside(t)
	serve(t, world, "world", 80)
	one, two := testNetwork(1), testNetwork(2)
	must(t, m.Apply(t.Context(), State{Networks: []Network{one, two}}))
	a, b := attach(t, m, one, 2), attach(t, m, two, 3)
	serve(t, b.ns, "b", 80)
	expectNone(t, a.ns, "tcp", at(b.addr, 80))

	mac := net.HardwareAddr{2, 0, 0, 0, 0, 7}
	second := Endpoint{ID: a.id, Interface: "eth1", Addr: netip.MustParseAddr("10.199.2.2"), MAC: mac, Side: true, NetNS: a.ns}
	must(t, m.Attach(t.Context(), two, second))
	expect(t, a.ns, "tcp", at(b.addr, 80), "b sees 10.199.2.2")
	expect(t, a.ns, "tcp", at(outsideAddr, 80), "world sees "+hostAddr.String())
	must(t, inNetNS(a.ns, func() error {
		link, err := netlink.LinkByName("eth1")
		if err == nil && link.Attrs().HardwareAddr.String() != mac.String() {
			t.Errorf("eth1 has the address %s", link.Attrs().HardwareAddr)
		}
		return err
	}))

	must(t, m.DetachOne(t.Context(), a.id, "eth0"))
	expectNone(t, a.ns, "tcp", at(outsideAddr, 80))
	must(t, m.Lead(t.Context(), two, "eth1", a.ns))
	expect(t, a.ns, "tcp", at(outsideAddr, 80), "world sees "+hostAddr.String())

	// A Manager that knows nothing of them still finds all places of a container.
	later := New(Config{Tag: testTag})
	must(t, m.Attach(t.Context(), one, Endpoint{ID: a.id, Addr: a.addr, Side: true, NetNS: a.ns}))
	must(t, later.Detach(t.Context(), a.id))
	if ids, err := later.Endpoints(t.Context()); err != nil || len(ids) != 1 || ids[0] != b.id {
		t.Errorf("left: %v, %v", ids, err)
	}
}

// When Attach returns, the kernel drops nothing any more: both ends are up, and the bridge forwards what comes by the port.
func TestAnAttachedInterfaceCarriesAtOnce(t *testing.T) {
	m := newHost(t)
	n := testNetwork(1)
	must(t, m.Apply(t.Context(), State{Networks: []Network{n}}))
	for i := range byte(5) {
		e := attach(t, m, n, 2+i)
		up := func(name string) error {
			link, err := netlink.LinkByName(name)
			if err == nil && link.Attrs().OperState != netlink.OperUp {
				t.Errorf("%d: %s is %s", i, name, link.Attrs().OperState)
			}
			return err
		}
		must(t, inNetNS(e.ns, func() error { return up("eth0") }))
		must(t, up(m.vethName(place{id: e.id, iface: "eth0"})))
		must(t, up(n.Bridge))
	}
}

// Packets of containers fit through the host's way to the world.
func TestMTUFollowsTheUplink(t *testing.T) {
	m := newHost(t)
	outside(t)
	must(t, run("ip link set lan0 mtu 1400"))
	must(t, run("ip route add default via "+outsideAddr.String()))
	n := testNetwork(1)
	must(t, m.Apply(t.Context(), State{Networks: []Network{n}}))
	a := attach(t, m, n, 2)
	mtu := func(name string) int {
		link, err := netlink.LinkByName(name)
		must(t, err)
		return link.Attrs().MTU
	}
	must(t, inNetNS(a.ns, func() error {
		if got := mtu("eth0"); got != 1400 {
			t.Errorf("eth0: %d", got)
		}
		return nil
	}))
	if got := mtu(n.Bridge); got != 1400 {
		t.Errorf("bridge: %d", got)
	}
	must(t, run("ip link set lan0 mtu 1300"))
	must(t, m.Apply(t.Context(), State{Networks: []Network{n}}))
	if got := mtu(n.Bridge); got != 1300 {
		t.Errorf("bridge after a change: %d", got)
	}
}
