//go:build !front

package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"

	"naru/edge/dns"
	"naru/engine"
	"naru/engine/keeper"
)

// namePort is where name servers listen, as it ends an address.
const namePort = ":53"

// resolver lets the name server answer the engine's containers, at the gateway of each network. The sockets are the
// keeper's, so that a question asked while no daemon runs waits for the next one.
type resolver struct {
	keeper *keeper.Client
	server *dns.Server

	mu sync.Mutex // one Listen at a time
}

// Listen implements engine.Resolver.
func (r *resolver) Listen(ctx context.Context, gateways []netip.Addr) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	wanted := make([]string, len(gateways))
	for i, g := range gateways {
		wanted[i] = g.String() + namePort
	}
	have := r.server.Listening()
	for _, address := range have {
		if !slices.Contains(wanted, address) {
			r.server.Remove(address)
			if err := r.unlisten(ctx, address); err != nil {
				return err
			}
		}
	}
	for _, address := range wanted {
		if !slices.Contains(have, address) {
			if err := r.listen(ctx, address); err != nil {
				return fmt.Errorf("answer name questions: %w", err)
			}
		}
	}
	return nil
}

func (r *resolver) listen(ctx context.Context, address string) error {
	udp, err := r.keeper.ListenPacket(ctx, "udp", address)
	if err != nil {
		return err
	}
	tcp, err := r.keeper.Listen(ctx, "tcp", address)
	if err != nil {
		return errors.Join(err, udp.Close())
	}
	return r.server.Add(address, dns.Sockets{UDP: udp, TCP: tcp})
}

func (r *resolver) unlisten(ctx context.Context, address string) error {
	return errors.Join(r.keeper.Unlisten(ctx, "udp", address), r.keeper.Unlisten(ctx, "tcp", address))
}

// SetNames implements engine.Resolver.
func (r *resolver) SetNames(changes map[string][]engine.Name) {
	entries := map[string]dns.Entry{}
	for id, names := range changes {
		entries[id] = nameEntry(names)
	}
	r.server.Set(entries)
}

// nameEntry is what a container's names are to the name server.
func nameEntry(names []engine.Name) dns.Entry {
	e := dns.Entry{Names: map[netip.Prefix]dns.Names{}, Clients: map[netip.Addr]dns.Client{}}
	for _, n := range names {
		if e.Names[n.Network] == nil {
			e.Names[n.Network] = dns.Names{}
		}
		e.Names[n.Network][n.Host] = append(e.Names[n.Network][n.Host], n.Addr)
		if _, known := e.Clients[n.Addr]; !known {
			e.Clients[n.Addr] = dns.Client{Name: n.Host, Also: n.Also, Upstreams: upstreams(n.DNS)}
		}
	}
	return e
}

// upstreams are name servers where name servers listen.
func upstreams(servers []netip.Addr) []netip.AddrPort {
	var out []netip.AddrPort
	for _, a := range servers {
		out = append(out, netip.AddrPortFrom(a, 53))
	}
	return out
}
