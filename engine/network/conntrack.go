package network

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// The kernel translates a connection the way its first packet was translated, for as long as the connection lives. For
// TCP that is right while the backend runs: one that is taken out of a published port finishes what it has begun, and
// ends with its place on the network (detach). A UDP "connection" lives as long as somebody sends, so it must be
// forgotten when the port's backends change; also the connection that was not translated because the port had no
// backend yet.

// flowFilter tells whether conntrack should forget a flow.
type flowFilter func(*netlink.ConntrackFlow) bool

// MatchConntrackFlow is what the library asks.
func (f flowFilter) MatchConntrackFlow(flow *netlink.ConntrackFlow) bool { return f(flow) }

// forgetFlows removes the UDP flows that no longer go where the state says.
func (m *Manager) forgetFlows(before, now State) error {
	changed := changedUDP(before, now)
	if len(changed) == 0 {
		return nil
	}
	local, err := localAddrs()
	if err != nil {
		return err
	}
	return m.kernel.deleteFlows(staleUDP(changed, local))
}

// takeOverFlows looks at what an earlier process of this daemon led to containers, when those that still run have been
// adopted: flows to the others, which ended meanwhile, are removed; who has flows is noted, for they end with it.
func (m *Manager) takeOverFlows(s State) error {
	first := m.firstAddrs(s)
	var served []netip.Addr
	err := m.kernel.deleteFlows(func(flow *netlink.ConntrackFlow) bool {
		addr, translated := leadsTo(flow)
		if !translated || !s.owns(addr) {
			return false
		}
		v4, runs := first[addr]
		served = append(served, v4)
		return !runs
	})
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, addr := range served {
		m.served[addr] = true
	}
	return err
}

// firstAddrs leads from each address of a container to the one that its place is known by.
func (m *Manager) firstAddrs(s State) map[netip.Addr]netip.Addr {
	m.mu.Lock()
	defer m.mu.Unlock()
	first := map[netip.Addr]netip.Addr{}
	for _, addr := range m.endpoints {
		first[addr] = addr
		for _, n := range s.Networks {
			if n.Subnet.Contains(addr) && n.Subnet6.IsValid() {
				first[n.Addr6(addr)] = addr
			}
		}
	}
	return first
}

// owns tells whether an address is of one of the networks.
func (s State) owns(addr netip.Addr) bool {
	return slices.ContainsFunc(s.Networks, func(n Network) bool {
		return slices.ContainsFunc(n.subnets(), func(p netip.Prefix) bool { return p.Contains(addr) })
	})
}

// changedUDP returns
// changedUDP returns the published UDP ports whose backends differ, with their backends now.
func changedUDP(before, now State) map[portKey][]netip.AddrPort {
	old, changed := udpPorts(before), udpPorts(now)
	for key, backends := range old {
		if slices.Equal(backends, changed[key]) {
			delete(changed, key)
		} else if _, ok := changed[key]; !ok {
			changed[key] = nil
		}
	}
	return changed
}

func udpPorts(s State) map[portKey][]netip.AddrPort {
	ports := map[portKey][]netip.AddrPort{}
	for _, p := range s.Publications {
		if p.Protocol == "udp" {
			for _, door := range p.key().doors() {
				ports[door] = p.Backends
			}
		}
	}
	return ports
}

// staleUDP matches flows that came to one of the ports and are answered by none of its backends.
func staleUDP(ports map[portKey][]netip.AddrPort, local map[netip.Addr]bool) flowFilter {
	return func(flow *netlink.ConntrackFlow) bool {
		if flow.Forward.Protocol != unix.IPPROTO_UDP {
			return false
		}
		dst, _ := netip.AddrFromSlice(flow.Forward.DstIP)
		src, _ := netip.AddrFromSlice(flow.Reverse.SrcIP)
		dst, src = dst.Unmap(), src.Unmap()
		backends, ok := ports[portKey{dst, "udp", flow.Forward.DstPort}]
		if !ok && (dst.IsLoopback() || local[dst]) {
			every := netip.IPv4Unspecified()
			if dst.Is6() {
				every = netip.IPv6Unspecified()
			}
			backends, ok = ports[portKey{every, "udp", flow.Forward.DstPort}]
		}
		return ok && !slices.Contains(backends, netip.AddrPortFrom(src, flow.Reverse.SrcPort))
	}
}

// flowsTo matches translated flows that a container answers: those of published ports that led to it.
func flowsTo(addrs []netip.Addr) flowFilter {
	return func(flow *netlink.ConntrackFlow) bool {
		addr, translated := leadsTo(flow)
		return translated && slices.Contains(addrs, addr)
	}
}

// leadsTo is who answers a flow, and whether it was sent to somebody else.
func leadsTo(flow *netlink.ConntrackFlow) (addr netip.Addr, translated bool) {
	addr, _ = netip.AddrFromSlice(flow.Reverse.SrcIP)
	return addr.Unmap(), !flow.Forward.DstIP.Equal(flow.Reverse.SrcIP)
}

// deleteFlows removes the flows that match. A kernel without conntrack's netlink part keeps them until they time out:
// the library's answer is then an error that is not worth failing for.
func (k *kernel) deleteFlows(match flowFilter) error {
	if k.flows == nil {
		handle, err := netlink.NewHandle(unix.NETLINK_NETFILTER)
		if err != nil {
			return fmt.Errorf("open conntrack: %w", err)
		}
		k.flows = handle
	}
	_, err4 := k.flows.ConntrackDeleteFilters(netlink.ConntrackTable, unix.AF_INET, match)
	_, err6 := k.flows.ConntrackDeleteFilters(netlink.ConntrackTable, unix.AF_INET6, match)
	return errors.Join(unlessMissing(err4), unlessMissing(err6))
}

func unlessMissing(err error) error {
	if err == nil || errors.Is(err, netlink.ErrDumpInterrupted) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP) {
		return nil
	}
	return fmt.Errorf("remove conntrack entries: %w", err)
}

func localAddrs() (map[netip.Addr]bool, error) {
	addrs, err := dump(func() ([]netlink.Addr, error) { return netlink.AddrList(nil, netlink.FAMILY_ALL) })
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	local := map[netip.Addr]bool{}
	for _, a := range addrs {
		if ip, ok := netip.AddrFromSlice(a.IP); ok {
			local[ip.Unmap()] = true
		}
	}
	return local, nil
}
