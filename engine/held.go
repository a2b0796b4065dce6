package engine

import (
	"maps"
	"net/netip"
)

// held is what only one container at a time can have, by who has it: so that none of a thousand has to be asked when one
// more needs a name, an address and a range of ids. e.mu guards it.
type held struct {
	names map[string]string  // the id of the container
	addrs map[netip.Addr]int // how many: a container that restarts keeps its own
	bases map[uint32]int     // of ids; containers that share their user namespaces have the same
}

func newHeld() held {
	return held{names: map[string]string{}, addrs: map[netip.Addr]int{}, bases: map[uint32]int{}}
}

// addrs are the addresses that a container keeps others from having.
func (c Container) addrs(yield func(netip.Addr) bool) {
	if c.State == Exited {
		return
	}
	for _, at := range c.endpoints() {
		if !yield(at.Addr) {
			return
		}
	}
}

func (h held) take(c Container) {
	h.names[c.Name] = c.ID
	h.bases[c.IDBase]++
	for addr := range c.addrs {
		h.addrs[addr]++
	}
}

func (h held) leave(c Container) {
	delete(h.names, c.Name)
	lower(h.bases, c.IDBase)
	for addr := range c.addrs {
		lower(h.addrs, addr)
	}
}

func lower[K comparable](counts map[K]int, key K) {
	if counts[key]--; counts[key] <= 0 {
		delete(counts, key)
	}
}

// enter has memory know a container from now on. The caller holds e.mu.
func (e *Engine) enter(en *entry) {
	e.containers[en.c.ID] = en
	e.held.take(en.c)
}

// follow has memory follow a change of a container. The caller holds e.mu.
func (e *Engine) follow(en *entry, c Container) {
	if e.containers[c.ID] == en {
		e.held.leave(en.c)
		e.held.take(c)
	}
	en.c = c
}

// expel has memory forget a container. The caller holds e.mu.
func (e *Engine) expel(en *entry) {
	en.gone = true
	if e.containers[en.c.ID] == en {
		e.held.leave(en.c)
		delete(e.containers, en.c.ID)
	}
}

// baseTaken tells which ranges of ids are in use. The caller holds e.mu as long as it asks.
func (e *Engine) baseTaken() func(uint32) bool {
	steps := map[uint32]bool{}
	for _, s := range e.steps {
		steps[s.base] = true
	}
	return func(b uint32) bool { return e.held.bases[b] > 0 || steps[b] }
}

// addrTaken tells which addresses are in use by others than container id. The caller holds e.mu as long as it asks.
func (e *Engine) addrTaken(id string) func(netip.Addr) bool {
	taken := map[netip.Addr]bool{}
	for _, s := range e.steps {
		taken[s.addr] = true
	}
	for _, d := range e.leaving {
		for _, addr := range d.addrs {
			taken[addr] = true
		}
	}
	for addr := range maps.Values(e.connecting) {
		taken[addr] = true
	}
	own := map[netip.Addr]int{}
	if en, ok := e.containers[id]; ok {
		for addr := range en.c.addrs {
			own[addr]++
		}
	}
	return func(a netip.Addr) bool { return e.held.addrs[a] > own[a] || taken[a] }
}
