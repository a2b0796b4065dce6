package network

import (
	"fmt"
	"net/netip"
	"strings"

	"naru/naru"
)

// check finds what Apply could not carry out, before anything is changed.
func (s State) check(tag string) error {
	for i, n := range s.Networks {
		if err := n.check(tag); err != nil {
			return err
		}
		for _, other := range s.Networks[:i] {
			if n.Subnet.Overlaps(other.Subnet) {
				return naru.Errorf(naru.Conflict, "networks %s (%s) and %s (%s) overlap", other.Name, other.Subnet, n.Name, n.Subnet)
			}
			if n.Bridge == other.Bridge {
				return fmt.Errorf("networks %s and %s have the same bridge %s", other.Name, n.Name, n.Bridge)
			}
		}
	}
	return s.checkPublications()
}

func (n Network) check(tag string) error {
	switch {
	case !strings.HasPrefix(n.Bridge, bridgePrefix(tag)) || len(n.Bridge) > 15:
		return fmt.Errorf("network %s: bridge name %q must begin with %q and have at most 15 characters", n.Name, n.Bridge, bridgePrefix(tag))
	case !n.Subnet.Addr().Is4() || n.Subnet != n.Subnet.Masked():
		return naru.Errorf(naru.InvalidArgument, "network %s: %s is not an IPv4 subnet", n.Name, n.Subnet)
	case !n.Subnet.Contains(n.Gateway):
		return naru.Errorf(naru.InvalidArgument, "network %s: gateway %s is outside of %s", n.Name, n.Gateway, n.Subnet)
	case n.Subnet6.IsValid() && (!n.Subnet6.Addr().Is6() || n.Subnet6.Bits() > 96 || !n.Subnet6.Contains(n.Gateway6)):
		return naru.Errorf(naru.InvalidArgument, "network %s: %s is not an IPv6 subnet of /96 or wider with the gateway %s", n.Name, n.Subnet6, n.Gateway6)
	}
	return nil
}

func (s State) checkPublications() error {
	seen := map[portKey]bool{}
	for _, n := range s.Networks {
		seen[portKey{n.Gateway, "tcp", 53}] = true // names are resolved there
		seen[portKey{n.Gateway, "udp", 53}] = true
	}
	for _, p := range s.Publications {
		if err := p.check(); err != nil {
			return err
		}
		for _, door := range p.key().doors() {
			if seen[door] {
				return naru.Errorf(naru.Conflict, "port %s is published twice", p.key())
			}
			seen[door] = true
		}
	}
	return nil
}

func (p Publication) check() error {
	switch {
	case p.Protocol != "tcp" && p.Protocol != "udp":
		return naru.Errorf(naru.Unimplemented, "published port %d/%s: only tcp and udp can be published", p.HostPort, p.Protocol)
	case p.HostPort == 0:
		return naru.Errorf(naru.InvalidArgument, "published port 0/%s: a port from 1 to 65535 is needed", p.Protocol)
	case p.HostIP.Is4In6() || p.HostIP.Zone() != "":
		return naru.Errorf(naru.InvalidArgument, "published port %s: write the address without a zone, and one of IPv4 as such", p.key())
	}
	for _, b := range p.Backends {
		if !b.Addr().IsValid() || b.Port() == 0 {
			return fmt.Errorf("published port %s: backend %s is not an address and port", p.key(), b)
		}
	}
	return nil
}

// CheckHostAddr refuses an address of the host from which the kernel leads nothing to containers as things are.
func CheckHostAddr(ip netip.Addr) error {
	if ip == netip.IPv6Loopback() && bridgedPassIPv6Rules() {
		return naru.Errorf(naru.FailedPrecondition, "no port can be published on ::1 while net.bridge.bridge-nf-call-ip6tables is on "+
			"(Docker switches it on): the kernel drops the answers: publish on 127.0.0.1, or switch it off")
	}
	return nil
}

// portKey tells published ports apart. The zero Addr stands for every address, an unspecified one for every address of
// its family.
type portKey struct {
	ip       netip.Addr
	protocol string
	port     uint16
}

func (p Publication) key() portKey { return portKey{p.HostIP, p.Protocol, p.HostPort} }

// doors are the keys, each of one family, that the key stands for.
func (k portKey) doors() []portKey {
	if k.ip.IsValid() {
		return []portKey{k}
	}
	return []portKey{{netip.IPv4Unspecified(), k.protocol, k.port}, {netip.IPv6Unspecified(), k.protocol, k.port}}
}

// String is the key as people write it: 127.0.0.1:8080/tcp, or 8080/tcp for every address.
func (k portKey) String() string {
	if !k.ip.IsValid() {
		return fmt.Sprintf("%d/%s", k.port, k.protocol)
	}
	return fmt.Sprintf("%s/%s", netip.AddrPortFrom(k.ip, k.port), k.protocol)
}

// chain names the key's chain: nft's own grammar must be able to read it back.
func (k portKey) chain() string {
	if !k.ip.IsValid() {
		return fmt.Sprintf("%s-%d", k.protocol, k.port)
	}
	return fmt.Sprintf("%s-%s-%d", k.protocol, strings.ReplaceAll(k.ip.String(), ":", "_"), k.port)
}
