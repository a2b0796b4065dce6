package client

import (
	"net"
	"strings"
	"testing"

	"naru/naru"
)

// FuzzParseHost: what is taken can be dialled: the path of a socket, or a host and a port.
func FuzzParseHost(f *testing.F) {
	for _, s := range []string{"/run/naru/naru.sock", "unix:///run/naru.sock", "http://127.0.0.1:80", "http://[::1]:80/", "tcp://host:1", "unix://host/x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		network, address, err := parseHost(s)
		if err != nil {
			if naru.CodeOf(err) != naru.InvalidArgument {
				t.Errorf("%q: %v", s, err)
			}
			return
		}
		_, port, bad := net.SplitHostPort(address)
		isPath, isPair := network == "unix" && strings.HasPrefix(address, "/"), network == "tcp" && bad == nil && port != ""
		if !isPath && !isPair {
			t.Errorf("%q is %s %q", s, network, address)
		}
	})
}
