package network

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestAllocateSubnet(t *testing.T) {
	p := netip.MustParsePrefix
	for _, c := range []struct {
		pool string
		bits int
		used []string
		want string // "" is an error
	}{
		{"10.200.0.0/16", 24, nil, "10.200.0.0/24"},
		{"10.200.0.0/16", 24, []string{"10.200.0.0/24", "10.200.2.0/24"}, "10.200.1.0/24"},
		{"10.200.0.0/16", 24, []string{"10.200.0.0/17"}, "10.200.128.0/24"},
		{"10.200.0.0/16", 20, []string{"10.200.5.0/24"}, "10.200.16.0/20"},
		{"10.200.0.0/16", 24, []string{"0.0.0.0/0"}, ""},
		{"10.200.0.0/16", 16, []string{"10.200.255.255/32"}, ""},
		{"255.255.255.0/24", 25, []string{"255.255.255.0/24"}, ""},
		{"10.200.0.0/16", 31, nil, ""},
		{"10.200.0.0/16", 8, nil, ""},
		{"fd00::/8", 24, nil, ""},
	} {
		var used []netip.Prefix
		for _, u := range c.used {
			used = append(used, p(u))
		}
		got, err := AllocateSubnet(p(c.pool), c.bits, used)
		if (err != nil) != (c.want == "") || (err == nil && got != p(c.want)) {
			t.Errorf("%v: got %v, %v", c, got, err)
		}
	}
}

func TestAllocateAddr(t *testing.T) {
	n := Network{Name: "n", Subnet: netip.MustParsePrefix("10.0.0.0/29"), Gateway: netip.MustParseAddr("10.0.0.1")}
	used := map[netip.Addr]bool{}
	for want := 2; want <= 6; want++ {
		got, err := AllocateAddr(n, func(a netip.Addr) bool { return used[a] })
		if err != nil || got.String() != fmt.Sprintf("10.0.0.%d", want) {
			t.Fatalf("got %v, %v", got, err)
		}
		used[got] = true
	}
	if got, err := AllocateAddr(n, func(a netip.Addr) bool { return used[a] }); err == nil {
		t.Errorf("got %v from a full network", got)
	}
}

func TestBridgeNameFits(t *testing.T) {
	if name := BridgeName("ffff", 99999999); len(name) != 15 {
		t.Errorf("%q has %d characters", name, len(name))
	}
	if name := New(Config{Tag: "ffff"}).vethName(newPlace(strings.Repeat("x", 64), "eth7")); len(name) != 15 {
		t.Errorf("%q has %d characters", name, len(name))
	}
}

func TestPortHolder(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	p, err := net.ListenPacket("udp", ":0")
	must(t, err)
	defer p.Close()
	me := fmt.Sprintf("(pid %d)", os.Getpid())
	tcp, udp := uint16(l.Addr().(*net.TCPAddr).Port), uint16(p.LocalAddr().(*net.UDPAddr).Port)
	for _, c := range []struct {
		proto string
		ip    string
		port  uint16
		taken bool
	}{
		{"tcp", "127.0.0.1", tcp, true}, {"tcp", "0.0.0.0", tcp, true}, {"tcp", "127.0.0.2", tcp, false},
		{"udp", "127.0.0.1", udp, true}, {"udp", "0.0.0.0", udp, true}, {"tcp", "0.0.0.0", 1, false},
	} {
		got, err := PortHolder(c.proto, netip.MustParseAddr(c.ip), c.port)
		if err != nil || strings.HasSuffix(got, me) != c.taken {
			t.Errorf("%v: got %q, %v", c, got, err)
		}
	}
}

func FuzzScanSockets(f *testing.F) {
	f.Add("  sl  local_address rem_address   st\n   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1\n")
	f.Add("   1: 00000000000000000000000000000000:1F90 00000000000000000000000000000000:0000 0A 0 0 0 0 0 12\n")
	f.Fuzz(func(t *testing.T, table string) {
		_, _ = scanSockets(strings.NewReader(table), "tcp", localhost, 8080)
	})
}

func FuzzParseAck(f *testing.F) {
	f.Add(make([]byte, 36))
	f.Add([]byte("\x40\x00\x00\x00\x02\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff0123456789abcdef\x08\x00\x01\x00abc\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		_ = parseAck(b)
		_, _ = parseOperState(b)
		_, _ = parseGeneration(b)
		_, _, _, _ = parseRuleCount(b)
		_, _ = parsePortKey(b)
		_, _ = parsePlace(b)
		_ = verdictChain(b)
	})
}

func TestAckTellsTheReason(t *testing.T) {
	err := parseAck([]byte("\x2c\x00\x00\x00\x02\x00\x00\x00\x07\x00\x00\x00\x00\x00\x00\x00\xef\xff\xff\xff0123456789abcdef\x08\x00\x01\x00abc\x00"))
	if !errors.Is(err, unix.EEXIST) || !strings.HasSuffix(err.Error(), "(abc)") {
		t.Errorf("got %v", err)
	}
}

func TestAliasRoundTrip(t *testing.T) {
	for _, iface := range []string{"", "eth1"} {
		e := Endpoint{ID: "web v1 3", Addr: netip.MustParseAddr("10.0.0.2"), Interface: iface}
		addr, p, ok := parseAlias(alias(e))
		if !ok || p != e.place() || addr != e.Addr {
			t.Errorf("got %v %v %v", addr, p, ok)
		}
	}
}

func FuzzParseListeners(f *testing.F) {
	f.Add("   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1")
	f.Fuzz(func(t *testing.T, text string) {
		all, err := parseListeners(strings.NewReader(text), "tcp")
		for _, l := range all {
			if err == nil && !l.addr.IsValid() {
				t.Errorf("%q: %v", text, l)
			}
		}
	})
}

// FuzzParsePort: a port that is taken reads the same when it is shown.
func FuzzParsePort(f *testing.F) {
	for _, s := range []string{"80", "53/udp", "80/", "0", "65536", "00080"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		port, protocol, err := ParsePort(s)
		if err != nil {
			return
		}
		again, same, err := ParsePort(fmt.Sprintf("%d/%s", port, protocol))
		if port == 0 || err != nil || again != port || same != protocol {
			t.Errorf("%q is %d/%s, which reads %d/%s: %v", s, port, protocol, again, same, err)
		}
	})
}
