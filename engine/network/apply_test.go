package network

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// fullState has one of everything that the table has rules for.
func fullState() State {
	one, two, internal := testNetwork(1), testNetwork(2), testNetwork(3)
	internal.Internal = true
	two = withIPv6(two)
	backends := []netip.AddrPort{netip.MustParseAddrPort("10.199.1.2:80"), netip.MustParseAddrPort("10.199.1.3:80"), netip.MustParseAddrPort("10.199.2.2:8080")}
	return State{
		Networks: []Network{one, two, internal},
		Publications: []Publication{
			{HostPort: 80, Protocol: "tcp", Backends: backends},
			{HostIP: netip.IPv4Unspecified(), HostPort: 53, Protocol: "udp", Backends: backends[:1]},
			{HostIP: localhost, HostPort: 5432, Protocol: "tcp", Backends: backends[1:2]},
			{HostPort: 81, Protocol: "tcp"},
			{HostPort: 82, Protocol: "tcp", Backends: []netip.AddrPort{netip.MustParseAddrPort("10.199.2.3:80"), netip.MustParseAddrPort("[fd00:2::ac7:203]:80")}},
			{HostIP: netip.MustParseAddr("2001:db8::1"), HostPort: 83, Protocol: "tcp", Backends: []netip.AddrPort{netip.MustParseAddrPort("[fd00:2::ac7:203]:80"), netip.MustParseAddrPort("[fd00:2::ac7:204]:80")}},
		},
	}
}

// The golden file is the kernel's table as nft reads it back.
func TestRuleset(t *testing.T) {
	setBridgeMode(t, "0")
	for name, state := range map[string]State{"full": fullState(), "empty": {}, "shards": fullState()} {
		t.Run(name, func(t *testing.T) {
			m := newHost(t)
			if name == "shards" {
				for _, n := range state.Networks[1:] {
					m.seats.take("somebody on "+n.Name, n.bridge(2))
				}
			}
			must(t, m.Apply(t.Context(), state))
			got := nft(t, "list", "table", "inet", tableName(testTag))
			golden := filepath.Join("testdata", name+".nft")
			if *update {
				must(t, os.WriteFile(golden, []byte(got), 0o644))
			}
			want, err := os.ReadFile(golden)
			must(t, err)
			if d := cmp.Diff(string(want), got); d != "" {
				t.Errorf("the table differs from %s (-update rewrites it):\n%s", golden, d)
			}
		})
	}
}

// nft must be able to read what it wrote: somebody will save and restore the ruleset.
func TestRulesetCanBeReadBack(t *testing.T) {
	newHost(t)
	cmd := exec.Command("nft", "--check", "-f", "testdata/full.nft")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("nft does not take its own output: %v\n%s", err, out)
	}
}

func TestApplyIsIdempotentAndRepairs(t *testing.T) {
	m := newHost(t)
	s := fullState()
	must(t, m.Apply(t.Context(), s))
	rules, links := nft(t, "list", "table", "inet", tableName(testTag)), bridgesAndAddresses(t)
	for _, break_ := range []func(){
		func() {},
		func() { nft(t, "delete", "table", "inet", tableName(testTag)) },
		func() { nft(t, "flush", "chain", "inet", tableName(testTag), "forward") },
		func() { must(t, deleteLink(s.Networks[1].Bridge)) },
		func() { must(t, run("ip link set "+s.Networks[0].Bridge+" down")) },
		func() { must(t, run("ip addr flush dev "+s.Networks[0].Bridge)) },
		func() { must(t, run("ip addr add 10.1.1.1/24 dev "+s.Networks[0].Bridge)) },
		func() { must(t, run("sysctl -qw net.ipv4.ip_forward=0")) },
	} {
		break_()
		must(t, m.Apply(t.Context(), s))
		if d := cmp.Diff(rules, nft(t, "list", "table", "inet", tableName(testTag))); d != "" {
			t.Error(d)
		}
		if d := cmp.Diff(links, bridgesAndAddresses(t)); d != "" {
			t.Error(d)
		}
	}
}

func bridgesAndAddresses(t *testing.T) []string {
	bridges, err := linksOf("bridge", bridgePrefix(testTag))
	must(t, err)
	var all []string
	for i := range 10 {
		if link, ok := bridges[BridgeName(testTag, i)]; ok {
			addrs, err := netlink.AddrList(link, netlink.FAMILY_ALL)
			must(t, err)
			all = append(all, fmt.Sprint(link.Attrs().Name, link.Attrs().Flags&1, link.Attrs().HardwareAddr, addrs))
		}
	}
	forward, err := os.ReadFile("/proc/sys/net/ipv4/ip_forward")
	must(t, err)
	return append(all, string(forward))
}

func TestApplyRemovesNetworksThatAreGone(t *testing.T) {
	m := newHost(t)
	s := fullState()
	must(t, m.Apply(t.Context(), s))
	s.Networks, s.Publications = s.Networks[:1], nil
	must(t, m.Apply(t.Context(), s))
	if got := bridgesAndAddresses(t); len(got) != 2 {
		t.Errorf("bridges: %v", got)
	}
}

func TestApplyRefuses(t *testing.T) {
	m := newHost(t)
	before := kernelState(t)
	n := testNetwork(1)
	backend := []netip.AddrPort{at(Gateway(n.Subnet).Next(), 80)}
	strange := n
	strange.Bridge = "docker0"
	narrow := withIPv6(n)
	narrow.Subnet6 = netip.MustParsePrefix("fd00::/112")
	for want, s := range map[string]State{
		"must begin with":      {Networks: []Network{strange}},
		"overlap":              {Networks: []Network{n, n}},
		"published twice":      {Publications: []Publication{{HostPort: 1, Protocol: "tcp", Backends: backend}, {HostIP: netip.IPv4Unspecified(), HostPort: 1, Protocol: "tcp"}}},
		"only tcp and udp":     {Publications: []Publication{{HostPort: 1, Protocol: "sctp"}}},
		"IPv6 subnet":          {Networks: []Network{narrow}},
		"53/udp is published ": {Networks: []Network{n}, Publications: []Publication{{HostIP: n.Gateway, HostPort: 53, Protocol: "udp"}}},
	} {
		if err := m.Apply(t.Context(), s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
	}
	if d := cmp.Diff(before, kernelState(t)); d != "" {
		t.Errorf("a refused state changed something: %s", d)
	}
}

// One message to the kernel has a largest size, and so has a set's: many published ports must still be one change.
func TestManyPublications(t *testing.T) {
	m := newHost(t)
	s := State{Networks: []Network{testNetwork(1)}}
	for i := range 3000 {
		s.Publications = append(s.Publications, Publication{HostPort: uint16(10000 + i), Protocol: "tcp",
			Backends: []netip.AddrPort{netip.MustParseAddrPort("10.199.1.2:80"), netip.MustParseAddrPort("10.199.1.3:80")}})
	}
	must(t, m.Apply(t.Context(), s))
	attach(t, m, s.Networks[0], 3)
	a := attach(t, m, s.Networks[0], 2)
	serve(t, a.ns, "a", 80)
	expect(t, hostNS(t), "tcp", at(localhost, 12998), "a sees 10.199.1.1")
}
