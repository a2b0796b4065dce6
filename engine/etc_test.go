package engine

import (
	"net/netip"
	"testing"
)

func TestResolvConfSearchesWhereTheHostDoes(t *testing.T) {
	gateway := netip.MustParseAddr("10.87.0.1")
	for _, c := range []struct {
		nameserver netip.Addr
		host, want string
	}{
		{netip.Addr{}, "nameserver 9.9.9.9\n", "nameserver 9.9.9.9\n"},
		{gateway, "", "nameserver 10.87.0.1\noptions ndots:0\n"},
		{gateway, "nameserver 9.9.9.9\nsearch\noptions ndots:2\n", "nameserver 10.87.0.1\noptions ndots:0\n"},
		{gateway, "domain old.example\nsearch a.example  b.example\n", "nameserver 10.87.0.1\nsearch a.example b.example\noptions ndots:0\n"},
	} {
		if got := resolvConf(c.nameserver, c.host, nil, nil); got != c.want {
			t.Errorf("%q: got %q, want %q", c.host, got, c.want)
		}
	}
}
