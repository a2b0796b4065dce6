package engine

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"net/netip"
	"slices"

	"naru/engine/network"
)

// Resolver answers the name questions of containers. The engine tells it where to listen before a container can ask,
// and what the names are at each change.
type Resolver interface {
	Listen(ctx context.Context, gateways []netip.Addr) error
	// SetNames replaces the names of these containers, by their ids, in one change. One without names has none any more.
	SetNames(map[string][]Name)
}

// Name says that Host means Addr for whoever asks from Network.
type Name struct {
	Network netip.Prefix
	Host    string // the first of an address is what the address is called
	Addr    netip.Addr
	Also    []netip.Prefix // further networks whose names Addr may ask for; said with the first, like DNS
	DNS     []netip.Addr   // whom Addr wants asked for names that are no container's; none: the host's own
}

// SetAliases replaces the further names of these containers, in one change: who asks for a name sees all of it or nothing.
// They last as long as this process: whoever set them sets them again after a restart, before Run.
func (e *Engine) SetAliases(aliases map[string][]string) {
	e.mu.Lock()
	for id, names := range aliases {
		if en, ok := e.containers[id]; ok {
			en.aliases = names
		}
	}
	e.mu.Unlock()
	e.tellNames(maps.Keys(aliases))
}

// answerNames has names answered on all networks, and looks whether the resolver knows them all. They are told first: a
// socket that outlived a daemon may have questions waiting.
func (e *Engine) answerNames(ctx context.Context, state network.State) error {
	if e.cfg.Resolver == nil {
		return nil
	}
	e.tellNames(e.everyID)
	var gateways []netip.Addr
	for _, n := range state.Networks {
		gateways = append(gateways, n.Gateway)
	}
	if err := e.cfg.Resolver.Listen(ctx, gateways); err != nil {
		return fmt.Errorf("answer names at the gateways: %w", err)
	}
	return nil
}

// everyID yields the containers that there are, and those that the resolver knows. The caller holds e.mu.
func (e *Engine) everyID(yield func(string) bool) {
	for id := range e.containers {
		if !yield(id) {
			return
		}
	}
	for id := range e.named {
		if !yield(id) {
			return
		}
	}
}

// tellName hands the names of a container at this instant to the resolver, when they are others than it knows.
func (e *Engine) tellName(id string) { e.tellNames(slices.Values([]string{id})) }

// tellNames is tellName for several, in one change.
func (e *Engine) tellNames(ids iter.Seq[string]) {
	if e.cfg.Resolver == nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if changes := e.renamed(ids); len(changes) > 0 {
		e.cfg.Resolver.SetNames(changes)
	}
}

// renamed returns the names of those of the containers whose names are others than when it was asked before. The caller
// holds e.mu.
func (e *Engine) renamed(ids iter.Seq[string]) map[string][]Name {
	changes := map[string][]Name{}
	for id := range ids {
		en, now := e.containers[id], naming{}
		if en != nil {
			now = en.naming()
		}
		switch known := e.named[id]; {
		case now.equal(known):
		case now.name == "":
			delete(e.named, id)
			changes[id] = nil
		default:
			e.named[id] = now
			changes[id] = e.namesOf(en)
		}
	}
	return changes
}

// naming is what the names of a container that runs follow from; zero for one that does not run.
type naming struct {
	name    string
	at      []Endpoint
	aliases []string
}

func (en *entry) naming() naming {
	if en.c.State != Running {
		return naming{}
	}
	return naming{en.c.Name, en.c.endpoints(), en.aliases}
}

func (n naming) equal(o naming) bool {
	return n.name == o.name && slices.Equal(n.at, o.at) && slices.Equal(n.aliases, o.aliases)
}

// namesOf are a container's names, on each of its networks. The caller holds e.mu.
func (e *Engine) namesOf(en *entry) []Name {
	var names []Name
	all := en.c.endpoints()
	for i, at := range all {
		n, ok := e.networks[at.Network]
		if !ok {
			continue
		}
		first := len(names)
		hosts := append([]string{en.c.Name, en.c.ShortID()}, en.c.Spec.AliasesOn(at.Network)...)
		if i == 0 {
			hosts = append(hosts, en.aliases...)
		}
		for _, host := range hosts {
			names = append(names, Name{Network: n.Subnet, Host: host, Addr: at.Addr})
			if at.Addr6.IsValid() {
				names = append(names, Name{Network: n.Subnet, Host: host, Addr: at.Addr6})
			}
		}
		names[first].DNS = en.c.Spec.DNS
		for _, other := range all {
			if also, ok := e.networks[other.Network]; ok && other.Network != at.Network {
				names[first].Also = append(names[first].Also, also.Subnet)
			}
		}
	}
	return names
}
