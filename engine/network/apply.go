package network

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Apply makes the kernel be as the state says: its bridges exist, others of this daemon do not, and the table's rules
// are the state's. It repairs what was removed behind its back, and may be repeated at any time without harm.
func (m *Manager) Apply(ctx context.Context, s State) error {
	if err := s.check(m.tag); err != nil {
		return fmt.Errorf("apply networks: %w", err)
	}
	m.apply.Lock()
	defer m.apply.Unlock()
	if err := m.applyAll(ctx, s); err != nil {
		return fmt.Errorf("apply networks: %w", err)
	}
	return nil
}

// applyAll makes bridges before the rules that name them, and removes bridges after their rules.
func (m *Manager) applyAll(ctx context.Context, s State) error {
	present, err := m.presentBridges()
	if err != nil {
		return err
	}
	if err := m.enableForwarding(len(s.Networks)); err != nil {
		return err
	}
	indexes := map[string]int{}
	for _, n := range s.Networks {
		index, err := ensureBridge(n, present[n.Bridge])
		if err != nil {
			return fmt.Errorf("network %s: %w", n.Name, err)
		}
		indexes[n.Bridge] = index
		delete(present, n.Bridge)
	}
	if err := m.replaceTable(ctx, s); err != nil {
		return err
	}
	before := m.remember(s, indexes)
	return errors.Join(deleteLinks(present), m.forgetFlows(before, s))
}

// replaceTable puts the state's table in the place of the daemon's former one.
func (m *Manager) replaceTable(ctx context.Context, s State) error {
	b, err := newBatch(m.tag)
	if err != nil {
		return err
	}
	b.addTable()
	writeRuleset(b, s)
	return b.send(ctx)
}

// remember keeps what was achieved and returns what was before.
func (m *Manager) remember(s State, bridges map[string]int) State {
	m.mu.Lock()
	defer m.mu.Unlock()
	before := m.state
	m.state, m.bridges = s, bridges
	for _, p := range s.Publications {
		for _, b := range p.Backends {
			m.served[b.Addr()] = true
		}
	}
	return before
}

// enableForwarding switches on that the host passes packets on between interfaces, without which no container reaches
// anything but its neighbours.
func (m *Manager) enableForwarding(networks int) error {
	if networks == 0 {
		return nil
	}
	now, err := os.ReadFile("/proc/sys/net/ipv4/ip_forward")
	if err != nil {
		return fmt.Errorf("read net.ipv4.ip_forward: %w", err)
	}
	if strings.TrimSpace(string(now)) != "0" {
		return nil
	}
	if err := writeSysctl("ipv4/ip_forward", "1"); err != nil {
		return err
	}
	m.log.Warn("net.ipv4.ip_forward was off and is on now: containers need it, and this host now also forwards between its other interfaces unless its firewall says otherwise")
	return nil
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
	msgs, err := req.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWLINK)
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

// ensureBridge makes the bridge, or makes what is there right, and returns its index.
func ensureBridge(n Network, present netlink.Link) (int, error) {
	if present == nil {
		link := &netlink.Bridge{LinkAttrs: netlink.NewLinkAttrs()}
		link.Name = n.Bridge
		// A fixed address: otherwise it would change with the containers that come and go, and their caches be wrong.
		link.HardwareAddr = hardwareAddr(n.Gateway)
		if err := netlink.LinkAdd(link); err != nil {
			return 0, fmt.Errorf("create bridge %s: %w", n.Bridge, err)
		}
		present = link
	}
	if err := setBridgeSysctls(n.Bridge); err != nil {
		return 0, err
	}
	if err := ensureAddress(present, n); err != nil {
		return 0, fmt.Errorf("give bridge %s its address: %w", n.Bridge, err)
	}
	if err := netlink.LinkSetUp(present); err != nil {
		return 0, fmt.Errorf("set bridge %s up: %w", n.Bridge, err)
	}
	return present.Attrs().Index, nil
}

// setBridgeSysctls: the host's own loopback connections to published ports cross the bridge (the guard chain keeps
// all others off it), and no container may become the host's IPv6 router.
func setBridgeSysctls(bridge string) error {
	if err := writeSysctl("ipv4/conf/"+bridge+"/route_localnet", "1"); err != nil {
		return err
	}
	return disableIPv6(bridge)
}

// ensureAddress leaves the bridge with the gateway's address and no other.
func ensureAddress(link netlink.Link, n Network) error {
	want := netip.PrefixFrom(n.Gateway, n.Subnet.Bits())
	have, err := netlink.AddrList(link, netlink.FAMILY_V4)
	if err != nil {
		return fmt.Errorf("list addresses: %w", err)
	}
	found := false
	for _, a := range have {
		if a.IPNet.String() == want.String() {
			found = true
		} else if err := netlink.AddrDel(link, &a); err != nil {
			return fmt.Errorf("remove address %s: %w", a.IPNet, err)
		}
	}
	if found {
		return nil
	}
	mask := net.CIDRMask(n.Subnet.Bits(), 32)
	return netlink.AddrAdd(link, &netlink.Addr{IPNet: &net.IPNet{IP: n.Gateway.AsSlice(), Mask: mask}})
}

func deleteLinks(links map[string]netlink.Link) error {
	var errs []error
	for name := range maps.Keys(links) {
		errs = append(errs, deleteLink(name))
	}
	return errors.Join(errs...)
}
