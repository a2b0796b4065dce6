package engine

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"naru/engine/network"
)

func TestTheResolverIsToldOfChangesOnly(t *testing.T) {
	at := []Endpoint{{Network: "default", Interface: "eth0", Addr: netip.MustParseAddr("10.0.0.2")}}
	one := &entry{c: Container{ID: "1111111111111111", Name: "one", State: Running, Endpoints: at}}
	two := &entry{c: Container{ID: "2222222222222222", Name: "two", State: Created}}
	e := &Engine{
		containers: map[string]*entry{"1": one, "2": two}, named: map[string]naming{},
		networks: map[string]Network{"default": {Network: network.Network{Subnet: netip.MustParsePrefix("10.0.0.0/24")}}},
	}
	for _, step := range []struct {
		what   string
		change func()
		want   string // ids, each with its hosts
	}{
		{"at first", func() {}, "1 one 111111111111"},
		{"nothing", func() {}, ""},
		{"a start", func() { two.c.State, two.c.Endpoints = Running, at }, "2 two 222222222222"},
		{"a rename", func() { two.c.Name = "2nd" }, "2 2nd 222222222222"},
		{"a further network", func() { two.c.Endpoints = append(two.c.Endpoints, Endpoint{Network: "more"}) }, "2 2nd 222222222222"},
		{"an alias", func() { one.aliases = []string{"web"} }, "1 one 111111111111 web"},
		{"the same alias", func() { one.aliases = []string{"web"} }, ""},
		{"a pid", func() { one.c.PID = 7 }, ""},
		{"an end, and a rename", func() { two.c.State, one.c.Name = Exited, "first" }, "1 first 111111111111 web, 2"},
		{"a removal after it", func() { delete(e.containers, "2") }, ""},
		{"a removal unseen", func() { delete(e.containers, "1") }, "1"},
		{"nobody left", func() {}, ""},
	} {
		step.change()
		var told []string
		for id, names := range e.renamed(e.everyID) {
			words := []string{id}
			for _, n := range names {
				words = append(words, n.Host)
			}
			told = append(told, strings.Join(words, " "))
		}
		slices.Sort(told)
		if got := strings.Join(told, ", "); got != step.want {
			t.Errorf("%s: told %q, want %q", step.what, got, step.want)
		}
	}
	if len(e.named) > 0 {
		t.Errorf("the engine still believes that names are known: %v", e.named)
	}
}
