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

	"naru/naru"
)

// inside is what the interface is called in a container.
const inside = "eth0"

// Attach gives a container its place on a network: a veth pair with one end on the bridge and the other as eth0 in the
// container's network namespace, with its address, its default route, and lo up. The network must have been applied.
func (m *Manager) Attach(ctx context.Context, n Network, e Endpoint) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if !n.Subnet.Contains(e.Addr) || e.Addr == n.Gateway {
		return fmt.Errorf("attach %s to network %s: %s is not an address for a container in %s", e.ID, n.Name, e.Addr, n.Subnet)
	}
	bridge, ok := m.bridgeIndex(n.Bridge)
	if !ok {
		return fmt.Errorf("attach %s: network %s has not been applied", e.ID, n.Name)
	}
	if err := m.join(n, bridge, e); err != nil {
		return fmt.Errorf("attach %s to network %s: %w", e.ID, n.Name, err)
	}
	m.Adopt(e.ID, e.Addr)
	return nil
}

// join makes the pair and sets both ends up, or leaves nothing.
func (m *Manager) join(n Network, bridge int, e Endpoint) error {
	c, err := openConversation()
	if err != nil {
		return err
	}
	defer c.close()
	name := m.vethName(e.ID)
	if err := c.createPair(name, bridge, e); errors.Is(err, unix.EXFULL) {
		return naru.Errorf(naru.FailedPrecondition, "a network takes at most 1023 containers, and this one has them: put some on another network")
	} else if err != nil {
		return errors.Join(err, c.deleteLink(name))
	}
	if err := errors.Join(configureInside(n, e), c.settle(name), c.settle(n.Bridge)); err != nil {
		return errors.Join(err, c.deleteLink(name))
	}
	return nil
}

// createPair makes both ends where they belong. An end of the same name is left from a container of the same ID whose
// namespace the kernel has not taken down yet: it gives way.
func (c conversation) createPair(name string, bridge int, e Endpoint) error {
	err := c.say(createRequests(name, bridge, e)...)
	if !errors.Is(err, unix.EEXIST) {
		return err
	}
	if err := c.deleteLink(name); err != nil {
		return err
	}
	return c.say(createRequests(name, bridge, e)...)
}

// createRequests asks for the pair, the host's end up and on the bridge, and then sets what cannot be set at creation:
// a note saying whose it is, and hairpin mode. That is needed where bridged packets pass the IP rules
// (net.bridge.bridge-nf-call-iptables, which Docker switches on): a container that calls its own published port is
// then sent back through the port that it came by. One queue is enough for an interface that has none of its own: left
// to itself, the kernel makes as many as there are processors, with a place in sysfs each.
func createRequests(name string, bridge int, e Endpoint) []request {
	one := nl.Uint32Attr(1)
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated("veth"))
	peer := info.AddRtAttr(nl.IFLA_INFO_DATA, nil).AddRtAttr(nl.VETH_INFO_PEER, nil)
	nl.NewIfInfomsgChild(peer, unix.AF_UNSPEC)
	peer.AddRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(inside))
	peer.AddRtAttr(unix.IFLA_NET_NS_FD, nl.Uint32Attr(uint32(e.NetNS.Fd())))
	peer.AddRtAttr(unix.IFLA_ADDRESS, hardwareAddr(e.Addr))
	peer.AddRtAttr(unix.IFLA_NUM_TX_QUEUES, one)
	peer.AddRtAttr(unix.IFLA_NUM_RX_QUEUES, one)

	port := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	port.AddRtAttr(nl.IFLA_INFO_SLAVE_KIND, nl.NonZeroTerminated("bridge"))
	port.AddRtAttr(nl.IFLA_INFO_SLAVE_DATA, nil).AddRtAttr(nl.IFLA_BRPORT_MODE, nl.Uint8Attr(1))

	return []request{
		newRequest("create veth pair", unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL,
			linkUp(0), nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(name)),
			nl.NewRtAttr(unix.IFLA_NUM_TX_QUEUES, one), nl.NewRtAttr(unix.IFLA_NUM_RX_QUEUES, one),
			nl.NewRtAttr(unix.IFLA_MASTER, nl.Uint32Attr(uint32(bridge))), info),
		newRequest("set up bridge port", unix.RTM_NEWLINK, 0,
			nl.NewIfInfomsg(unix.AF_UNSPEC), nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(name)),
			nl.NewRtAttr(unix.IFLA_IFALIAS, []byte(alias(e))), port),
	}
}

// configureInside sets the container's end up, from a thread that is in its namespace meanwhile.
func configureInside(n Network, e Endpoint) error {
	return inNetNS(e.NetNS, func() error {
		c, err := openConversation()
		if err != nil {
			return err
		}
		defer c.close()
		eth, err := c.index(inside)
		if err != nil {
			return err
		}
		// Without this a neighbour could become the container's IPv6 router by announcing itself.
		if err := disableIPv6(inside); err != nil {
			return err
		}
		if err := c.say(insideRequests(n, e.Addr, eth)...); err != nil {
			return err
		}
		return c.settle(inside)
	})
}

func insideRequests(n Network, addr netip.Addr, eth int) []request {
	const lo = 1 // the first interface of every network namespace
	rs := []request{
		newRequest("set "+inside+" up", unix.RTM_NEWLINK, 0, linkUp(eth)),
		newRequest("set lo up", unix.RTM_NEWLINK, 0, linkUp(lo)),
		newRequest("set address", unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, addressMsg(n, eth),
			nl.NewRtAttr(unix.IFA_LOCAL, addr.AsSlice()), nl.NewRtAttr(unix.IFA_ADDRESS, addr.AsSlice()),
			nl.NewRtAttr(unix.IFA_BROADCAST, lastAddr(n.Subnet).AsSlice())),
	}
	if n.Internal {
		return rs // without a route, trying to get out fails at once
	}
	return append(rs, newRequest("set default route", unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, routeMsg(),
		nl.NewRtAttr(unix.RTA_GATEWAY, n.Gateway.AsSlice())))
}

func linkUp(index int) *nl.IfInfomsg {
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index, msg.Flags, msg.Change = int32(index), unix.IFF_UP, unix.IFF_UP
	return msg
}

func addressMsg(n Network, index int) *nl.IfAddrmsg {
	msg := nl.NewIfAddrmsg(unix.AF_INET)
	msg.Prefixlen, msg.Index = uint8(n.Subnet.Bits()), uint32(index)
	return msg
}

func routeMsg() *nl.RtMsg {
	msg := nl.NewRtMsg()
	msg.Family = unix.AF_INET
	return msg
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

// disableIPv6 does nothing where the kernel has no IPv6.
func disableIPv6(dev string) error {
	if err := writeSysctl("ipv6/conf/"+dev+"/disable_ipv6", "1"); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// vethName names the host's end of a container's pair: 40 bits of its ID's hash is what 15 characters have room for.
func (m *Manager) vethName(id string) string {
	sum := sha256.Sum256([]byte(id))
	return vethPrefix(m.tag) + strings.ToLower(base32.StdEncoding.EncodeToString(sum[:5]))
}

// alias is the note on the host's end: which endpoint it is of. parseAlias reads it.
func alias(e Endpoint) string { return "naru " + e.Addr.String() + " " + e.ID }

func parseAlias(s string) (addr netip.Addr, id string, ok bool) {
	rest, ok := strings.CutPrefix(s, "naru ")
	if !ok {
		return netip.Addr{}, "", false
	}
	first, id, ok := strings.Cut(rest, " ")
	addr, err := netip.ParseAddr(first)
	return addr, id, ok && err == nil
}

// hardwareAddr derives an interface's address from its IP. So the neighbours' caches stay right when an IP address
// moves to another container. The first byte says: not from a vendor.
func hardwareAddr(ip netip.Addr) net.HardwareAddr {
	b := ip.As4()
	return net.HardwareAddr{0x0a, 'n', b[0], b[1], b[2], b[3]}
}
