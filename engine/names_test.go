package engine

import (
	"net/netip"
	"testing"
)

func TestTheResolverIsToldOfChangesOnly(t *testing.T) {
	at := []Endpoint{{Network: "default", Interface: "eth0", Addr: netip.MustParseAddr("10.0.0.2")}}
	one, two := &entry{c: Container{ID: "1", Name: "one", State: Running, Endpoints: at}}, &entry{c: Container{ID: "2", Name: "two", State: Created}}
	e := &Engine{containers: map[string]*entry{"1": one, "2": two}, named: -1}
	for _, step := range []struct {
		what   string
		change func()
		want   bool
	}{
		{"at first", func() {}, true},
		{"nothing", func() {}, false},
		{"a start", func() { two.c.State, two.c.Endpoints = Running, at }, true},
		{"a rename", func() { two.c.Name = "2nd" }, true},
		{"a further network", func() { two.c.Endpoints = append(two.c.Endpoints, Endpoint{Network: "more"}) }, true},
		{"an alias", func() { one.aliases = []string{"web"} }, true},
		{"the same alias", func() { one.aliases = []string{"web"} }, false},
		{"a pid", func() { one.c.PID = 7 }, false},
		{"an end", func() { two.c.State = Exited }, true},
		{"a removal after it", func() { delete(e.containers, "2") }, false},
		{"a removal unseen", func() { delete(e.containers, "1") }, true},
		{"nobody left", func() {}, false},
	} {
		step.change()
		if got := e.renamed(); got != step.want {
			t.Errorf("%s: told %t, want %t", step.what, got, step.want)
		}
	}
}
