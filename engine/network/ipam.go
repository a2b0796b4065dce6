package network

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"

	"naru/naru"
)

// AllocateSubnet returns the first subnet of the given size in the pool that overlaps none of the used ones.
func AllocateSubnet(pool netip.Prefix, bits int, used []netip.Prefix) (netip.Prefix, error) {
	pool = pool.Masked()
	if !pool.IsValid() || !pool.Addr().Is4() || bits < pool.Bits() || bits > 30 {
		return netip.Prefix{}, fmt.Errorf("allocate subnet: no IPv4 subnets of /%d for containers in %s", bits, pool)
	}
	candidate := netip.PrefixFrom(pool.Addr(), bits)
	for pool.Contains(candidate.Addr()) {
		other, taken := overlapping(candidate, used)
		if !taken {
			return candidate, nil
		}
		next := lastAddr(wider(candidate, other)).Next()
		if !next.IsValid() {
			break
		}
		candidate = netip.PrefixFrom(next, bits)
	}
	return netip.Prefix{}, naru.Errorf(naru.FailedPrecondition, "no subnet of /%d is free in %s: remove networks that are not needed", bits, pool)
}

// HostSubnets returns what this host already reaches by routes of its own, other than the default route and bridges of
// the tag: subnets that AllocateSubnet must not give away, or the containers would hide that part of the host's world.
func HostSubnets(ctx context.Context, tag string) ([]netip.Prefix, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	own, err := linksOf("bridge", bridgePrefix(tag))
	if err != nil {
		return nil, err
	}
	routes, err := dump(func() ([]netlink.Route, error) { return netlink.RouteList(nil, netlink.FAMILY_V4) })
	if err != nil {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	ours := map[int]bool{}
	for _, link := range own {
		ours[link.Attrs().Index] = true
	}
	var used []netip.Prefix
	for _, r := range routes {
		if p, ok := prefixOf(r.Dst); ok && p.Bits() > 0 && !ours[r.LinkIndex] {
			used = append(used, p)
		}
	}
	return used, nil
}

func prefixOf(n *net.IPNet) (netip.Prefix, bool) {
	if n == nil {
		return netip.Prefix{}, false
	}
	addr, ok := netip.AddrFromSlice(n.IP)
	ones, _ := n.Mask.Size()
	return netip.PrefixFrom(addr.Unmap(), ones), ok
}

func overlapping(p netip.Prefix, used []netip.Prefix) (netip.Prefix, bool) {
	for _, u := range used {
		if u.Addr().Is4() && u.Overlaps(p) {
			return u.Masked(), true
		}
	}
	return netip.Prefix{}, false
}

// wider is the larger of two subnets that overlap: one lies in the other.
func wider(a, b netip.Prefix) netip.Prefix {
	if a.Bits() < b.Bits() {
		return a
	}
	return b
}

// AllocateAddr returns the first address of the network that a container can have and that is not used.
func AllocateAddr(n Network, used func(netip.Addr) bool) (netip.Addr, error) {
	last := lastAddr(n.Subnet) // the broadcast address
	for a := n.Subnet.Masked().Addr().Next(); a.IsValid() && a.Less(last); a = a.Next() {
		if a != n.Gateway && !used(a) {
			return a, nil
		}
	}
	return netip.Addr{}, naru.Errorf(naru.FailedPrecondition, "network %s is full: no address is free in %s", n.Name, n.Subnet)
}

// HasRoomFor tells whether a container can have the address.
func (n Network) HasRoomFor(a netip.Addr) bool {
	return n.Subnet.Contains(a) && a != n.Gateway && a != n.Subnet.Masked().Addr() && a != lastAddr(n.Subnet)
}

// Addr6 is the IPv6 address of the container that has this IPv4 address, which it ends with; zero in a network without.
func (n Network) Addr6(a netip.Addr) netip.Addr {
	if !n.Subnet6.IsValid() || !a.Is4() {
		return netip.Addr{}
	}
	b, last := n.Subnet6.Masked().Addr().As16(), a.As4()
	copy(b[12:], last[:])
	return netip.AddrFrom16(b)
}

// Gateway is the address that the host has in a subnet: the first.
func Gateway(subnet netip.Prefix) netip.Addr { return subnet.Masked().Addr().Next() }

// lastAddr is the highest address of an IPv4 subnet.
func lastAddr(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().As4()
	last := binary.BigEndian.Uint32(b[:]) | uint32(uint64(1)<<(32-p.Bits())-1)
	return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, last)))
}
