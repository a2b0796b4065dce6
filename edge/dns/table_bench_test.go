package dns

import (
	"fmt"
	"net/netip"
	"testing"
)

// BenchmarkNewTable is what a change costs among a thousand containers with two names and two addresses each.
func BenchmarkNewTable(b *testing.B) {
	names := Names{}
	addr, addr6 := netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("fd00::2")
	for i := range 1000 {
		names[fmt.Sprintf("container-%d", i)] = []netip.Addr{addr, addr6}
		names[fmt.Sprintf("%012x", i)] = []netip.Addr{addr, addr6}
		addr, addr6 = addr.Next(), addr6.Next()
	}
	networks := map[netip.Prefix]Names{netip.MustParsePrefix("10.0.0.0/22"): names}
	for b.Loop() {
		NewTable(networks)
	}
}
