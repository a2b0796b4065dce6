package engine

import (
	"crypto/sha256"
	"fmt"
	"net/netip"
	"os"
	"slices"

	"naru/engine/network"
	"naru/naru"
)

// Prefix lengths of the subnets that networks get when nobody names one: 1,021 containers on a network, and 4,093 on the
// default one, where containers are that nobody has thought about.
const (
	networkBits        = 22
	defaultNetworkBits = 20
)

// subnetBits leaves room for at least three networks beside the default one.
func subnetBits(name string, pool netip.Prefix) int {
	if name == DefaultNetwork {
		return min(max(defaultNetworkBits, pool.Bits()+2), networkBits)
	}
	return networkBits
}

// chooseSubnet6 takes the one that was asked for, when no other network has it, or the i-th of the engine's own; none on
// a host without IPv6. The caller holds e.mu.
func (e *Engine) chooseSubnet6(r NetworkRequest, i int) (netip.Prefix, error) {
	switch s := r.Subnet6; {
	case !s.IsValid() && !hostHasIPv6():
		return netip.Prefix{}, nil
	case !s.IsValid():
		return uniqueLocal(e.cfg.DataDir, i), nil
	case !s.Addr().Is6() || s.Addr().Is4In6() || s != s.Masked() || s.Bits() > 96 || s.Addr().IsLinkLocalUnicast() || s.Addr().IsMulticast():
		return s, naru.Errorf(naru.InvalidArgument, "subnet %s: write an IPv6 subnet of /96 or wider by its first address, such as 2001:db8:7::/64", s)
	case !hostHasIPv6():
		return s, naru.Errorf(naru.FailedPrecondition, "subnet %s: this host has no IPv6", s)
	}
	for _, n := range e.networks {
		if n.Subnet6.IsValid() && n.Subnet6.Overlaps(r.Subnet6) {
			return r.Subnet6, naru.Errorf(naru.Conflict, "subnet %s overlaps %s of network %s", r.Subnet6, n.Subnet6, n.Name)
		}
	}
	return r.Subnet6, nil
}

// chooseSubnet takes the one that was asked for, when nobody else has it, or the next free one.
func chooseSubnet(r NetworkRequest, pool netip.Prefix, used []netip.Prefix) (netip.Prefix, error) {
	if !r.Subnet.IsValid() {
		if r.Gateway.IsValid() {
			return netip.Prefix{}, naru.Errorf(naru.InvalidArgument, "gateway %s: name the subnet that it is in, too", r.Gateway)
		}
		subnet, err := network.AllocateSubnet(pool, subnetBits(r.Name, pool), used)
		if err != nil {
			return netip.Prefix{}, fmt.Errorf("find a subnet for network %s: %w", r.Name, err)
		}
		return subnet, nil
	}
	switch s := r.Subnet; {
	case !s.Addr().Is4() || s != s.Masked() || s.Bits() < 8 || s.Bits() > 30:
		return netip.Prefix{}, naru.Errorf(naru.InvalidArgument, "subnet %s: write an IPv4 subnet from /8 to /30 by its first address, such as 10.20.0.0/24", s)
	case r.Gateway.IsValid() && (!s.Contains(r.Gateway) || r.Gateway == s.Addr()):
		return netip.Prefix{}, naru.Errorf(naru.InvalidArgument, "gateway %s is not an address in subnet %s", r.Gateway, s)
	}
	if i := slices.IndexFunc(used, r.Subnet.Overlaps); i >= 0 {
		return netip.Prefix{}, naru.Errorf(naru.Conflict, "subnet %s overlaps %s, which another network or the host itself uses", r.Subnet, used[i])
	}
	return r.Subnet, nil
}

// uniqueLocal is the n-th IPv6 subnet of an engine: of addresses that no router of the world knows, and that no other
// engine has, as its prefix is drawn from where its data is on which machine.
func uniqueLocal(dataDir string, n int) netip.Prefix {
	machine, _ := os.ReadFile("/etc/machine-id") // without one, the folder alone tells engines apart
	sum := sha256.Sum256(append(machine, dataDir...))
	b := [16]byte{0: 0xfd, 6: byte(n >> 8), 7: byte(n)}
	copy(b[1:6], sum[:])
	return netip.PrefixFrom(netip.AddrFrom16(b), 64)
}

func hostHasIPv6() bool {
	_, err := os.Stat("/proc/sys/net/ipv6/conf/all/forwarding")
	return err == nil
}
