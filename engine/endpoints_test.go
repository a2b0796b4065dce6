package engine

import (
	"slices"
	"strings"
	"testing"

	"naru/naru"
)

// FuzzParseHost: what is taken is one line of /etc/hosts, of one address and one name.
func FuzzParseHost(f *testing.F) {
	for _, s := range []string{"db:10.0.0.5", "host:host-gateway", "six:[2001:db8::1]", "zone:fe80::1%eth0", "zone:fe80::1%a\n10.0.0.1", "a\vb:10.0.0.1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		name, addr, err := parseHost(s)
		if err != nil {
			if naru.CodeOf(err) != naru.InvalidArgument {
				t.Errorf("%q: %v", s, err)
			}
			return
		}
		line := addr + "\t" + name
		if !slices.Equal(strings.Fields(line), []string{addr, name}) || strings.Contains(line, "#") {
			t.Errorf("%q gives the line %q", s, line)
		}
	})
}

// FuzzParseMAC: what is taken is an address of one interface, and reads the same when it is shown.
func FuzzParseMAC(f *testing.F) {
	for _, s := range []string{"", "02:42:ac:11:00:02", "0242.ac11.0002", "01:00:5e:00:00:01", "02-42-AC-11-00-02"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		mac, err := parseMAC(s)
		if err != nil {
			if naru.CodeOf(err) != naru.InvalidArgument {
				t.Errorf("%q: %v", s, err)
			}
			return
		}
		if again, err := parseMAC(mac.String()); err != nil || again.String() != mac.String() || s != "" && len(mac) != 6 {
			t.Errorf("%q is %v, which reads %v: %v", s, mac, again, err)
		}
	})
}
