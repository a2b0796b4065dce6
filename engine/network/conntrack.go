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
// TCP that is right: a backend that is taken out of a published port finishes what it has begun. A UDP "connection"
// lives as long as somebody sends, so it must be forgotten when the port's backends change; also the connection that
// was not translated because the port had no backend yet.

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
		src, _ := netip.AddrFromSlice(flow.Reverse.SrcIP)
		return slices.Contains(addrs, src.Unmap()) && !flow.Forward.DstIP.Equal(flow.Reverse.SrcIP)
	}
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
