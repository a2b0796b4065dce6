package network

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// inside is what the first interface is called in a container.
const inside = "eth0"

// Attach gives a container a place on a network: a veth pair with one end on the bridge and the other in the container's
// network namespace, as eth0 or as the endpoint says, with its address, its default route, and lo up. The network must
// have been applied.
func (m *Manager) Attach(ctx context.Context, n Network, e Endpoint) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if !n.Subnet.Contains(e.Addr) || e.Addr == n.Gateway {
		return fmt.Errorf("attach %s to network %s: %s is not an address for a container in %s", e.ID, n.Name, e.Addr, n.Subnet)
	}
	if _, ok := m.bridgeIndex(n.Bridge); !ok {
		return fmt.Errorf("attach %s: network %s has not been applied", e.ID, n.Name)
	}
	e.Interface = e.place().iface
	name := m.vethName(e.place())
	i, err := m.seatOrExtend(ctx, n, name)
	if err == nil {
		err = m.join(n, i, name, e)
	}
	if err != nil {
		m.leaveSeat(name)
		return fmt.Errorf("attach %s to network %s: %w", e.ID, n.Name, err)
	}
	m.Adopt(e.ID, e.Interface, e.Addr)
	return nil
}

// join makes the pair, with an end on the network's i-th bridge, and sets both ends up, or leaves nothing.
func (m *Manager) join(n Network, i int, name string, e Endpoint) error {
	c, err := openConversation()
	if err != nil {
		return err
	}
	defer c.close()
	bridge, ok := m.bridgeIndex(n.bridge(i))
	if !ok {
		return fmt.Errorf("bridge %s is gone", n.bridge(i))
	}
	err = m.createPair(c, name, bridge, e)
	if err == nil {
		err = errors.Join(m.configureInside(n, e), c.settle(name), c.settle(n.bridge(i)))
	}
	if _, sharded := m.bridgeIndex(n.bridge(1)); sharded && err == nil {
		err = m.tellWhere(c, n, i, name, e.hardwareAddr())
	}
	if err != nil {
		return errors.Join(err, c.deleteLink(name))
	}
	return nil
}

// createPair makes both ends where they belong. An end of the same name is left from a container of the same ID whose
// namespace the kernel has not taken down yet: it gives way.
func (m *Manager) createPair(c conversation, name string, bridge int, e Endpoint) error {
	create := createRequest(name, bridge, m.uplinkMTU(), e)
	err := c.say(create)
	if errors.Is(err, unix.EEXIST) {
		if err = c.deleteLink(name); err == nil {
			err = c.say(create)
		}
	}
	if err == nil {
		err = m.withoutIPv6(name)
	}
	if err == nil {
		err = c.say(portRequest(name, e))
	}
	return err
}

// withoutIPv6 keeps the kernel from doing on a bridge's port, before it is up, what IPv6 does on every interface: the bridge
// has the addresses. A route to all multicast would be there for each port, and the kernel looks through all of them for
// each packet to a group, and when any interface goes.
func (m *Manager) withoutIPv6(port string) error { return prepareIPv6(m.sysctls.set, port, false) }

// createRequest asks for the pair, the host's end on the bridge, and down as yet. One queue is enough for an interface that
// has none of its own: left to itself, the kernel makes as many as there are processors, with a place in sysfs each.
func createRequest(name string, bridge, mtu int, e Endpoint) request {
	one := nl.Uint32Attr(1)
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated("veth"))
	peer := info.AddRtAttr(nl.IFLA_INFO_DATA, nil).AddRtAttr(nl.VETH_INFO_PEER, nil)
	nl.NewIfInfomsgChild(peer, unix.AF_UNSPEC)
	peer.AddRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(e.Interface))
	peer.AddRtAttr(unix.IFLA_NET_NS_FD, nl.Uint32Attr(uint32(e.NetNS.Fd())))
	peer.AddRtAttr(unix.IFLA_ADDRESS, e.hardwareAddr())
	peer.AddRtAttr(unix.IFLA_NUM_TX_QUEUES, one)
	peer.AddRtAttr(unix.IFLA_NUM_RX_QUEUES, one)
	pair := []nl.NetlinkRequestData{
		nl.NewIfInfomsg(unix.AF_UNSPEC), nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(name)),
		nl.NewRtAttr(unix.IFLA_NUM_TX_QUEUES, one), nl.NewRtAttr(unix.IFLA_NUM_RX_QUEUES, one),
		nl.NewRtAttr(unix.IFLA_MASTER, nl.Uint32Attr(uint32(bridge))),
	}
	if mtu > 0 {
		peer.AddRtAttr(unix.IFLA_MTU, nl.Uint32Attr(uint32(mtu)))
		pair = append(pair, nl.NewRtAttr(unix.IFLA_MTU, nl.Uint32Attr(uint32(mtu))))
	}
	return newRequest("create veth pair", unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL, append(pair, info)...)
}

// portRequest sets the host's end up, with what cannot be set at creation: a note saying whose it is, and hairpin mode.
// That is needed where bridged packets pass the IP rules (net.bridge.bridge-nf-call-iptables, which Docker switches on): a
// container that calls its own published port is then sent back through the port that it came by.
func portRequest(name string, e Endpoint) request {
	port := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	port.AddRtAttr(nl.IFLA_INFO_SLAVE_KIND, nl.NonZeroTerminated("bridge"))
	port.AddRtAttr(nl.IFLA_INFO_SLAVE_DATA, nil).AddRtAttr(nl.IFLA_BRPORT_MODE, nl.Uint8Attr(1))
	return newRequest("set up bridge port", unix.RTM_NEWLINK, 0, linkUp(0),
		nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(name)), nl.NewRtAttr(unix.IFLA_IFALIAS, []byte(alias(e))), port)
}

// configureInside sets the container's end up, from a thread that is in its namespace meanwhile.
func (m *Manager) configureInside(n Network, e Endpoint) error {
	return inNetNS(e.NetNS, func() error {
		c, err := openConversation()
		if err != nil {
			return err
		}
		defer c.close()
		eth, err := c.index(e.Interface)
		if err != nil {
			return err
		}
		if err := prepareIPv6(m.sysctls.set, e.Interface, e.Addr6.IsValid()); err != nil {
			return err
		}
		if err := c.say(insideRequests(n, e, eth)...); err != nil {
			return err
		}
		return c.settle(e.Interface)
	})
}

func insideRequests(n Network, e Endpoint, eth int) []request {
	const lo = 1 // the first interface of every network namespace
	rs := []request{
		newRequest("set "+e.Interface+" up", unix.RTM_NEWLINK, 0, linkUp(eth)),
		newRequest("set lo up", unix.RTM_NEWLINK, 0, linkUp(lo)),
		newRequest("set address", unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, addressMsg(n.Subnet, eth),
			nl.NewRtAttr(unix.IFA_LOCAL, e.Addr.AsSlice()), nl.NewRtAttr(unix.IFA_ADDRESS, e.Addr.AsSlice()),
			nl.NewRtAttr(unix.IFA_BROADCAST, lastAddr(n.Subnet).AsSlice())),
	}
	if e.Addr6.IsValid() {
		rs = append(rs, newRequest("set IPv6 address", unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_REPLACE,
			addressMsg(n.Subnet6, eth), nl.NewRtAttr(unix.IFA_LOCAL, e.Addr6.AsSlice()), nl.NewRtAttr(unix.IFA_ADDRESS, e.Addr6.AsSlice())))
	}
	if !e.Addr6.IsValid() {
		n.Gateway6 = netip.Addr{} // a build's step has no IPv6, so there is no way there
	}
	if n.Internal || e.Side {
		return rs // without a route, trying to get out of an internal network fails at once
	}
	return append(rs, defaultRoutes(n, eth)...)
}

// defaultRoutes lead to the world by a network's gateway.
func defaultRoutes(n Network, eth int) []request {
	var rs []request
	for _, gateway := range []netip.Addr{n.Gateway, n.Gateway6} {
		if gateway.IsValid() {
			rs = append(rs, newRequest("set default route", unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, routeMsg(gateway),
				nl.NewRtAttr(unix.RTA_GATEWAY, gateway.AsSlice()), nl.NewRtAttr(unix.RTA_OIF, nl.Uint32Attr(uint32(eth)))))
		}
	}
	return rs
}

// Lead makes a network's gateway the way to the world for a container that has a place on it, in the place of the way
// that it has lost.
func (m *Manager) Lead(ctx context.Context, n Network, iface string, ns *os.File) error {
	if err := ctx.Err(); err != nil || n.Internal {
		return err
	}
	err := inNetNS(ns, func() error {
		c, err := openConversation()
		if err != nil {
			return err
		}
		defer c.close()
		eth, err := c.index(iface)
		if err != nil {
			return err
		}
		return c.say(defaultRoutes(n, eth)...)
	})
	if err != nil {
		return fmt.Errorf("lead over network %s: %w", n.Name, err)
	}
	return nil
}

func linkUp(index int) *nl.IfInfomsg {
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index, msg.Flags, msg.Change = int32(index), unix.IFF_UP, unix.IFF_UP
	return msg
}

// addressMsg begins a request for an address. One of IPv6 is ours to give, so nobody is asked whether he has it: it can
// be used at once.
func addressMsg(subnet netip.Prefix, index int) *nl.IfAddrmsg {
	msg := nl.NewIfAddrmsg(family(subnet.Addr()))
	msg.Prefixlen, msg.Index = uint8(subnet.Bits()), uint32(index)
	if subnet.Addr().Is6() {
		msg.IfAddrmsg.Flags = unix.IFA_F_NODAD
	}
	return msg
}

func routeMsg(gateway netip.Addr) *nl.RtMsg {
	msg := nl.NewRtMsg()
	msg.Family = uint8(family(gateway))
	return msg
}

func family(a netip.Addr) int {
	if a.Is6() {
		return unix.AF_INET6
	}
	return unix.AF_INET
}

// inNetNS calls f on a thread that is in the namespace. A thread that cannot come back is not used again.
func inNetNS(ns *os.File, f func() error) error {
	runtime.LockOSThread()
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("open own network namespace: %w", err)
	}
	defer home.Close()
	if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("enter network namespace: %w", err)
	}
	err = f()
	if back := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); back != nil {
		return errors.Join(err, fmt.Errorf("leave network namespace: %w", back))
	}
	runtime.UnlockOSThread()
	return err
}

// prepareIPv6 switches IPv6 off on an interface that gets no address of it, and keeps the others from believing a
// neighbour that announces itself as a router, and from asking all neighbours whether one of them has their address on
// the link, which is made of an IPv4 address that nobody else has. It does nothing where the kernel has no IPv6.
func prepareIPv6(set func(path, value string) error, dev string, wanted bool) error {
	settings := map[string]string{"disable_ipv6": "1"}
	if wanted {
		settings = map[string]string{"disable_ipv6": "0", "accept_ra": "0", "autoconf": "0", "accept_redirects": "0", "accept_dad": "0"}
	}
	for name, value := range settings {
		err := set("ipv6/conf/"+dev+"/"+name, value)
		if err != nil && (wanted || !errors.Is(err, os.ErrNotExist)) {
			return err
		}
	}
	return nil
}

// vethName names the host's end of a pair: 40 bits of a hash is what 15 characters have room for.
func (m *Manager) vethName(p place) string {
	text := p.id
	if p.iface != inside {
		text += " " + p.iface
	}
	sum := sha256.Sum256([]byte(text))
	return vethPrefix(m.tag) + strings.ToLower(base32.StdEncoding.EncodeToString(sum[:5]))
}

// alias is the note on the host's end: which endpoint it is of. parseAlias reads it.
func alias(e Endpoint) string {
	at := e.Addr.String()
	if p := e.place(); p.iface != inside {
		at += "@" + p.iface
	}
	return "naru " + at + " " + e.ID
}

func parseAlias(s string) (addr netip.Addr, p place, ok bool) {
	rest, ok := strings.CutPrefix(s, "naru ")
	if !ok {
		return netip.Addr{}, place{}, false
	}
	at, id, ok := strings.Cut(rest, " ")
	first, iface, _ := strings.Cut(at, "@")
	addr, err := netip.ParseAddr(first)
	return addr, newPlace(id, iface), ok && err == nil
}

func (e Endpoint) hardwareAddr() net.HardwareAddr {
	if e.MAC != nil {
		return e.MAC
	}
	return hardwareAddr(e.Addr)
}

// hardwareAddr derives an interface's address from its IP. So the neighbours' caches stay right when an IP address
// moves to another container. The first byte says: not from a vendor.
func hardwareAddr(ip netip.Addr) net.HardwareAddr {
	b := ip.As4()
	return net.HardwareAddr{0x0a, 'n', b[0], b[1], b[2], b[3]}
}
