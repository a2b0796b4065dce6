package network

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// ensureBridges makes the networks' bridges right, and returns their indexes and the bridges that are no network's.
func (m *Manager) ensureBridges(networks []Network) (others map[string]netlink.Link, indexes map[string]int, err error) {
	others, err = m.presentBridges()
	if err != nil {
		return nil, nil, err
	}
	addrs, err := addrsByLink()
	if err != nil {
		return nil, nil, err
	}
	indexes = map[string]int{}
	for _, n := range networks {
		for i, name := range n.bridges() {
			link := others[name]
			delete(others, name)
			if link == nil {
				link, err = m.createBridge(n, i)
			}
			if err == nil {
				err = m.ensureBridge(n, i, link, addrs[link.Attrs().Index])
			}
			if err == nil && i > 0 {
				err = m.ensureTrunk(name, link.Attrs().Index, indexes[n.Bridge])
			}
			if err != nil {
				return nil, nil, fmt.Errorf("network %s: %w", n.Name, err)
			}
			indexes[name] = link.Attrs().Index
		}
	}
	return others, indexes, nil
}

// presentBridges finds the bridges that carry the daemon's tag.
func (m *Manager) presentBridges() (map[string]netlink.Link, error) {
	return linksOf("bridge", bridgePrefix(m.tag))
}

// linksOf lists the interfaces of a kind whose names begin with prefix. The kernel does the sorting out by kind: with a
// thousand containers the whole list is long.
func linksOf(kind, prefix string) (map[string]netlink.Link, error) {
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated(kind))
	req := nl.NewNetlinkRequest(unix.RTM_GETLINK, unix.NLM_F_DUMP)
	req.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
	req.AddData(info)
	msgs, err := dump(func() ([][]byte, error) { return req.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWLINK) })
	if err != nil {
		return nil, fmt.Errorf("list %s interfaces: %w", kind, err)
	}
	found := map[string]netlink.Link{}
	for _, msg := range msgs {
		link, err := netlink.LinkDeserialize(nil, msg)
		if err != nil {
			return nil, fmt.Errorf("read %s interface: %w", kind, err)
		}
		if strings.HasPrefix(link.Attrs().Name, prefix) {
			found[link.Attrs().Name] = link
		}
	}
	return found, nil
}

// createBridge makes a network's i-th bridge, and puts on it whoever was on the one before of that name.
func (m *Manager) createBridge(n Network, i int) (netlink.Link, error) {
	link := &netlink.Bridge{LinkAttrs: netlink.NewLinkAttrs()}
	link.Name = n.bridge(i)
	// A fixed address: otherwise it would change with the containers that come and go, and their caches be wrong.
	link.HardwareAddr = hardwareAddr(n.Gateway)
	link.HardwareAddr[1] += byte(i)
	if err := netlink.LinkAdd(link); err != nil {
		return nil, fmt.Errorf("create bridge %s: %w", link.Name, err)
	}
	for _, veth := range m.seatedOn(link.Name) {
		// The pair of a container that ends just now may be gone.
		if port, err := netlink.LinkByName(veth); err == nil {
			if err := netlink.LinkSetMaster(port, link); err != nil && !errors.Is(err, unix.ENODEV) {
				return nil, fmt.Errorf("put %s back on bridge %s: %w", veth, link.Name, err)
			}
		}
	}
	return link, nil
}

// ensureBridge makes a network's i-th bridge right. Its sysctls are set once in the life of the bridge or of the daemon.
func (m *Manager) ensureBridge(n Network, i int, link netlink.Link, addrs []netlink.Addr) error {
	index, known := m.bridgeIndex(n.bridge(i))
	if known = known && index == link.Attrs().Index; !known {
		if err := setBridgeSysctls(n.bridge(i), n.Subnet6.IsValid()); err != nil {
			return err
		}
	}
	want := n.gateways()
	if i > 0 {
		want = n.shardAddrs()
		if err := netlink.LinkSetARPOff(link); err != nil {
			return fmt.Errorf("keep bridge %s from answering for the gateway: %w", n.bridge(i), err)
		}
	}
	if err := ensureAddress(link, want, addrs); err != nil {
		return fmt.Errorf("give bridge %s its address: %w", n.bridge(i), err)
	}
	wasUp := known && link.Attrs().Flags&net.FlagUp != 0
	if err := m.ensureUp(link); err != nil || wasUp || i > 0 || !n.Subnet6.IsValid() {
		return err
	}
	return admitLoopback6(link)
}

// admitLoopback6 lets answers to ::1 in from a bridge: IPv6 has no route_localnet, and the kernel takes what conntrack
// has translated back to ::1 only where a route says that ::1 is there. What comes from the wire for ::1 it drops before
// (ip6_rcv_core), and the host's own calls go on to lo, whose route comes first. The route goes when the bridge goes down.
func admitLoopback6(link netlink.Link) error {
	route := &netlink.Route{LinkIndex: link.Attrs().Index, Table: unix.RT_TABLE_LOCAL, Type: unix.RTN_LOCAL,
		Dst: &net.IPNet{IP: net.IPv6loopback, Mask: net.CIDRMask(128, 128)}, Priority: 1024 + link.Attrs().Index}
	if err := netlink.RouteAdd(route); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("let answers to ::1 in from %s: %w", link.Attrs().Name, err)
	}
	return nil
}

// bridgedPassIPv6Rules tells whether packets are translated as early as on a bridge (br_netfilter): answers to ::1 have
// that address then when they come to IPv6, which drops them.
func bridgedPassIPv6Rules() bool {
	text, err := os.ReadFile("/proc/sys/net/bridge/bridge-nf-call-ip6tables")
	return err == nil && strings.TrimSpace(string(text)) != "0"
}

// ensureUp sets an interface up, for packets of the size that the uplink takes.
func (m *Manager) ensureUp(link netlink.Link) error {
	if mtu := m.uplinkMTU(); mtu > 0 && link.Attrs().MTU != mtu {
		if err := netlink.LinkSetMTU(link, mtu); err != nil {
			return fmt.Errorf("set the largest packet of %s to %d: %w", link.Attrs().Name, mtu, err)
		}
	}
	if link.Attrs().Flags&net.FlagUp != 0 {
		return nil
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("set %s up: %w", link.Attrs().Name, err)
	}
	return nil
}

// setBridgeSysctls: the host's own loopback connections to published ports cross the bridge (the guard chain keeps
// all others off it), and no container may become the host's IPv6 router.
func setBridgeSysctls(bridge string, six bool) error {
	if err := writeSysctl("ipv4/conf/"+bridge+"/route_localnet", "1"); err != nil {
		return err
	}
	return prepareIPv6(writeSysctl, bridge, six)
}

// gateways are the host's addresses on the network's first bridge.
func (n Network) gateways() []netip.Prefix {
	all := []netip.Prefix{netip.PrefixFrom(n.Gateway, n.Subnet.Bits())}
	if n.Gateway6.IsValid() {
		all = append(all, netip.PrefixFrom(n.Gateway6, n.Subnet6.Bits()))
	}
	return all
}

// ensureAddress leaves the bridge with the addresses that it should have, and the kernel's own on the link.
func ensureAddress(link netlink.Link, want []netip.Prefix, have []netlink.Addr) error {
	for _, a := range have {
		p, _ := prefixOf(a.IPNet)
		if i := slices.Index(want, p); i >= 0 {
			want = slices.Delete(want, i, i+1)
		} else if err := netlink.AddrDel(link, &a); err != nil {
			return fmt.Errorf("remove address %s: %w", a.IPNet, err)
		}
	}
	for _, p := range want {
		if err := netlink.AddrAdd(link, gatewayAddr(p)); err != nil {
			return fmt.Errorf("add address %s: %w", p, err)
		}
	}
	return nil
}

// gatewayAddr of IPv6 is not asked for on the link first: it is ours to give.
func gatewayAddr(p netip.Prefix) *netlink.Addr {
	a := &netlink.Addr{IPNet: &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}}
	if p.Addr().Is6() {
		a.Flags = unix.IFA_F_NODAD
	}
	return a
}

func addrsByLink() (map[int][]netlink.Addr, error) {
	all, err := dump(func() ([]netlink.Addr, error) { return netlink.AddrList(nil, netlink.FAMILY_ALL) })
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	byLink := map[int][]netlink.Addr{}
	for _, a := range all {
		if !a.IP.IsLinkLocalUnicast() {
			byLink[a.LinkIndex] = append(byLink[a.LinkIndex], a)
		}
	}
	return byLink, nil
}

// deleteBridges removes bridges, and what joins those that are shards to others.
func (m *Manager) deleteBridges(bridges map[string]netlink.Link) error {
	var errs []error
	for name := range bridges {
		trunk, _ := m.trunkEnds(name)
		errs = append(errs, deleteLink(trunk), deleteLink(name))
	}
	return errors.Join(errs...)
}

func deleteLinks(links map[string]netlink.Link) error {
	var errs []error
	for name := range maps.Keys(links) {
		errs = append(errs, deleteLink(name))
	}
	return errors.Join(errs...)
}
