package engine

import (
	"net/netip"
	"testing"
)

func TestSubnetBits(t *testing.T) {
	for _, c := range []struct {
		name, pool string
		want       int
	}{
		{DefaultNetwork, "10.87.0.0/16", 20},
		{DefaultNetwork, "10.87.0.0/19", 21},
		{DefaultNetwork, "10.87.0.0/22", 22},
		{"app-shop", "10.87.0.0/16", 22},
	} {
		if got := subnetBits(c.name, netip.MustParsePrefix(c.pool)); got != c.want {
			t.Errorf("%s in %s: got /%d, want /%d", c.name, c.pool, got, c.want)
		}
	}
}
