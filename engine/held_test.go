package engine

import (
	"fmt"
	"net/netip"
	"testing"
)

// What containers hold is known without looking at them, and is what looking at them would say.
func TestWhatContainersHold(t *testing.T) {
	e := &Engine{containers: map[string]*entry{}, held: newHeld()}
	at := func(last byte) []Endpoint {
		return []Endpoint{{Network: "default", Interface: "eth0", Addr: netip.AddrFrom4([4]byte{10, 0, 0, last})}}
	}
	one := &entry{c: Container{ID: "1111111111111111", Name: "one", State: Created, IDBase: 100}}
	two := &entry{c: Container{ID: "2222222222222222", Name: "two", State: Created, IDBase: 200}}
	change := func(en *entry, f func(*Container)) {
		c := en.c
		f(&c)
		e.follow(en, c)
	}
	for _, step := range []struct {
		what   string
		change func()
		want   string // the names, ends of addresses, and bases that a third container cannot have
	}{
		{"nobody", func() {}, "[] [] []"},
		{"two made", func() { e.enter(one); e.enter(two) }, "[one two] [] [100 200]"},
		{"a start", func() { change(one, func(c *Container) { c.State, c.Endpoints = Running, at(2) }) }, "[one two] [2] [100 200]"},
		{"a further network", func() {
			change(one, func(c *Container) { c.Endpoints = append(at(2), at(3)...) })
		}, "[one two] [2 3] [100 200]"},
		{"sharing users", func() {
			change(two, func(c *Container) { c.State, c.Endpoints, c.IDBase = Running, at(4), 100 })
		}, "[one two] [2 3 4] [100]"},
		{"a rename", func() { change(two, func(c *Container) { c.Name = "2nd" }) }, "[one 2nd] [2 3 4] [100]"},
		{"an end", func() { change(one, func(c *Container) { c.State = Exited }) }, "[one 2nd] [4] [100]"},
		{"a removal", func() { e.expel(one) }, "[2nd] [4] [100]"},
		{"what is said of it afterwards", func() { change(one, func(c *Container) { c.State = Running }) }, "[2nd] [4] [100]"},
		{"a second removal", func() { e.expel(one) }, "[2nd] [4] [100]"},
		{"nobody left", func() { e.expel(two) }, "[] [] []"},
	} {
		step.change()
		if got := heldByOthers(e); got != step.want {
			t.Errorf("%s: taken are %s, want %s", step.what, got, step.want)
		}
	}
	if n := len(e.held.names) + len(e.held.addrs) + len(e.held.bases); n > 0 {
		t.Errorf("nobody is left, and holds something: %v", e.held)
	}
}

func heldByOthers(e *Engine) string {
	names, ends, bases := []string{}, []byte{}, []uint32{}
	for _, name := range []string{"one", "two", "2nd", "three"} {
		if e.nameFree(name) != nil {
			names = append(names, name)
		}
	}
	addrTaken, baseTaken := e.addrTaken(""), e.baseTaken()
	for last := range byte(9) {
		if addrTaken(netip.AddrFrom4([4]byte{10, 0, 0, last})) {
			ends = append(ends, last)
		}
	}
	for _, base := range []uint32{100, 200, 300} {
		if baseTaken(base) {
			bases = append(bases, base)
		}
	}
	return fmt.Sprint(names, " ", ends, " ", bases)
}

// A container that starts again may have the address that it had.
func TestOwnAddressIsFree(t *testing.T) {
	addr := netip.MustParseAddr("10.0.0.2")
	en := &entry{c: Container{ID: "1", Name: "one", State: Restarting, Endpoints: []Endpoint{{Addr: addr}}}}
	e := &Engine{containers: map[string]*entry{}, held: newHeld()}
	e.enter(en)
	if e.addrTaken("1")(addr) {
		t.Error("its own address is taken")
	}
	if !e.addrTaken("2")(addr) {
		t.Error("its address is free for another")
	}
	e.connecting = map[string]netip.Addr{"2": addr}
	if !e.addrTaken("1")(addr) {
		t.Error("it may have an address that another is being given")
	}
}
