package network

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
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
		link := others[n.Bridge]
		delete(others, n.Bridge)
		if link == nil {
			link, err = createBridge(n)
		}
		if err == nil {
			err = m.ensureBridge(n, link, addrs[link.Attrs().Index])
		}
		if err != nil {
			return nil, nil, fmt.Errorf("network %s: %w", n.Name, err)
		}
		indexes[n.Bridge] = link.Attrs().Index
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

func createBridge(n Network) (netlink.Link, error) {
	link := &netlink.Bridge{LinkAttrs: netlink.NewLinkAttrs()}
	link.Name = n.Bridge
	// A fixed address: otherwise it would change with the containers that come and go, and their caches be wrong.
	link.HardwareAddr = hardwareAddr(n.Gateway)
	if err := netlink.LinkAdd(link); err != nil {
		return nil, fmt.Errorf("create bridge %s: %w", n.Bridge, err)
	}
	return link, nil
}

// ensureBridge makes a bridge right. Its sysctls are set once in the life of the bridge or of the daemon.
func (m *Manager) ensureBridge(n Network, link netlink.Link, addrs []netlink.Addr) error {
	if index, known := m.bridgeIndex(n.Bridge); !known || index != link.Attrs().Index {
		if err := setBridgeSysctls(n); err != nil {
			return err
		}
	}
	if err := ensureAddress(link, n, addrs); err != nil {
		return fmt.Errorf("give bridge %s its address: %w", n.Bridge, err)
	}
	if mtu := m.uplinkMTU(); mtu > 0 && link.Attrs().MTU != mtu {
		if err := netlink.LinkSetMTU(link, mtu); err != nil {
			return fmt.Errorf("set the largest packet of bridge %s to %d: %w", n.Bridge, mtu, err)
		}
	}
	if link.Attrs().Flags&net.FlagUp != 0 {
		return nil
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("set bridge %s up: %w", n.Bridge, err)
	}
	return nil
}

// setBridgeSysctls: the host's own loopback connections to published ports cross the bridge (the guard chain keeps
// all others off it), and no container may become the host's IPv6 router.
func setBridgeSysctls(n Network) error {
	if err := writeSysctl("ipv4/conf/"+n.Bridge+"/route_localnet", "1"); err != nil {
		return err
	}
	return prepareIPv6(n.Bridge, n.Subnet6.IsValid())
}

// ensureAddress leaves the bridge with the gateway's addresses and no others, but for the kernel's own on the link.
func ensureAddress(link netlink.Link, n Network, have []netlink.Addr) error {
	want := map[netip.Prefix]bool{netip.PrefixFrom(n.Gateway, n.Subnet.Bits()): true}
	if n.Gateway6.IsValid() {
		want[netip.PrefixFrom(n.Gateway6, n.Subnet6.Bits())] = true
	}
	for _, a := range have {
		p, _ := prefixOf(a.IPNet)
		if want[p] {
			delete(want, p)
		} else if err := netlink.AddrDel(link, &a); err != nil {
			return fmt.Errorf("remove address %s: %w", a.IPNet, err)
		}
	}
	for p := range want {
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

func deleteLinks(links map[string]netlink.Link) error {
	var errs []error
	for name := range maps.Keys(links) {
		errs = append(errs, deleteLink(name))
	}
	return errors.Join(errs...)
}
