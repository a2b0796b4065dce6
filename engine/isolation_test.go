package engine

import (
	"strconv"
	"strings"
	"testing"

	"naru/engine/sandbox"
	"naru/naru"
)

func TestCapabilities(t *testing.T) {
	usual, all := strings.Join(sandbox.DefaultCapabilities(), " "), strings.Join(sandbox.Capabilities(), " ")
	for _, c := range []struct{ add, drop, want string }{
		{"", "", ""}, // nil: the default
		{"net_admin", "", usual + " CAP_NET_ADMIN"},
		{"CHOWN", "", usual},
		{"", "CAP_CHOWN", strings.TrimPrefix(usual, "CAP_CHOWN ")},
		{"", "all", ""},
		{"KILL SYS_TIME", "ALL", "CAP_KILL CAP_SYS_TIME"},
		{"ALL", "", all},
		{"ALL", "CHOWN", strings.TrimPrefix(all, "CAP_CHOWN ")},
	} {
		got, err := capabilities(naru.Isolation{CapAdd: strings.Fields(c.add), CapDrop: strings.Fields(c.drop)})
		if err != nil || strings.Join(got, " ") != c.want || (got == nil) != (c.add+c.drop == "") {
			t.Errorf("+%s -%s: %v, %v", c.add, c.drop, got, err)
		}
	}
	if _, err := capabilities(naru.Isolation{CapAdd: []string{"FROB"}}); naru.CodeOf(err) != naru.InvalidArgument {
		t.Errorf("a capability that Linux does not have: %v", err)
	}
}

func TestDeviceRules(t *testing.T) {
	for text, want := range map[string]string{"c 10:200 rwm": "c 10 200 rwm", "b *:3 r": "b - 3 r", "a *:* m": "a - - m"} {
		r, err := parseDeviceRule(text)
		if err != nil || !r.Allow {
			t.Errorf("%q: %v", text, err)
			continue
		}
		number := func(n *int64) string {
			if n == nil {
				return "-"
			}
			return strconv.FormatInt(*n, 10)
		}
		if got := strings.Join([]string{r.Type, number(r.Major), number(r.Minor), r.Access}, " "); got != want {
			t.Errorf("%q: %s", text, got)
		}
	}
	for _, bad := range []string{"", "c", "c 10:200", "x 1:2 r", "c 1:2 x", "c -1:2 r", "c 99999999999:1 r", "c 1:2 r\n"} {
		if _, err := parseDeviceRule(bad); naru.CodeOf(err) != naru.InvalidArgument {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
