package engine

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"naru/engine/network"
	"naru/naru"
)

// networkBits is the prefix length of a network's subnet: about as many addresses as a Linux bridge has ports (1,024).
const networkBits = 22

// EnsureNetwork returns the network of that name and makes it when it is new.
func (e *Engine) EnsureNetwork(ctx context.Context, name string) (network.Network, error) {
	e.netMu.Lock()
	defer e.netMu.Unlock()
	if n, ok := e.lookupNetwork(name); ok {
		return n, nil
	}
	n, err := e.newNetwork(ctx, name)
	if err != nil {
		return network.Network{}, err
	}
	if err := e.saveNetwork(ctx, n); err != nil {
		return network.Network{}, err
	}
	e.mu.Lock()
	e.networks[name] = n
	e.mu.Unlock()
	return n, e.applyLocked(ctx)
}

func (e *Engine) lookupNetwork(name string) (network.Network, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	n, ok := e.networks[name]
	return n, ok
}

// newNetwork picks a bridge and a subnet for a network: one that neither another network nor the host itself uses.
func (e *Engine) newNetwork(ctx context.Context, name string) (network.Network, error) {
	if !validName.MatchString(name) {
		return network.Network{}, naru.Errorf(naru.InvalidArgument, "network name %q: use letters, digits, '_', '.' and '-'", name)
	}
	used, err := network.HostSubnets(ctx, e.tag)
	if err != nil {
		return network.Network{}, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	bridges := map[string]bool{}
	for _, n := range e.networks {
		used, bridges[n.Bridge] = append(used, n.Subnet), true
	}
	subnet, err := network.AllocateSubnet(e.cfg.Subnet, networkBits, used)
	if err != nil {
		return network.Network{}, fmt.Errorf("find a subnet for network %s: %w", name, err)
	}
	for i := 0; ; i++ {
		if bridge := network.BridgeName(e.tag, i); !bridges[bridge] {
			return network.Network{Name: name, Bridge: bridge, Subnet: subnet, Gateway: network.Gateway(subnet)}, nil
		}
	}
}

// RemoveNetwork removes a network that no container is on; one that does not exist is no error.
func (e *Engine) RemoveNetwork(ctx context.Context, name string) error {
	e.netMu.Lock()
	defer e.netMu.Unlock()
	if user := e.userOf(name); user != "" {
		return naru.Errorf(naru.FailedPrecondition, "network %s is used by container %s: remove that first", name, user)
	}
	if err := e.forgetNetwork(ctx, name); err != nil {
		return err
	}
	e.mu.Lock()
	delete(e.networks, name)
	e.mu.Unlock()
	return e.applyLocked(ctx)
}

// userOf names a container on the network, or returns "".
func (e *Engine) userOf(name string) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, en := range e.containers {
		if firstOf(en.c.Spec.Network, DefaultNetwork) == name {
			return en.c.Name
		}
	}
	return ""
}

func (e *Engine) networkOf(c Container) network.Network {
	n, _ := e.lookupNetwork(firstOf(c.Spec.Network, DefaultNetwork))
	return n // zero for NoNetwork, whose containers have no gateway
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
	e.tellResolver()
}

// Publish leads ports of the host to the given backends, in the place of what the same key published before. Before Run
// it is only noted. A port that somebody else holds is a Conflict.
func (e *Engine) Publish(ctx context.Context, key string, pubs []network.Publication) error {
	e.mu.Lock()
	if len(pubs) == 0 {
		delete(e.published, key)
	} else {
		e.published[key] = pubs
	}
	e.mu.Unlock()
	return e.applyChange(ctx)
}

// applyChange brings a change to the kernel, once Run has begun; before, Run's first round does.
func (e *Engine) applyChange(ctx context.Context) error {
	e.mu.Lock()
	started := e.started
	e.mu.Unlock()
	if !started {
		return nil
	}
	return e.applyNetwork(ctx)
}

func (e *Engine) applyNetwork(ctx context.Context) error {
	e.netMu.Lock()
	defer e.netMu.Unlock()
	return e.applyLocked(ctx)
}

// applyLocked makes the kernel's bridges and rules, and the resolver, what memory says. The caller holds netMu.
func (e *Engine) applyLocked(ctx context.Context) error {
	state := e.networkState()
	if err := e.net.Apply(ctx, state); err != nil {
		return fmt.Errorf("apply the network: %w", err)
	}
	if e.cfg.Resolver == nil {
		return nil
	}
	var gateways []netip.Addr
	for _, n := range state.Networks {
		gateways = append(gateways, n.Gateway)
	}
	if err := e.cfg.Resolver.Listen(ctx, gateways); err != nil {
		return fmt.Errorf("answer names at the gateways: %w", err)
	}
	e.tellResolver()
	return nil
}

// networkState is what the kernel should have: all networks, and the ports of what runs or is about to.
func (e *Engine) networkState() network.State {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := network.State{Networks: slices.SortedFunc(maps.Values(e.networks), func(a, b network.Network) int {
		return cmp.Compare(a.Bridge, b.Bridge)
	})}
	for _, key := range slices.Sorted(maps.Keys(e.published)) {
		s.Publications = append(s.Publications, e.published[key]...)
	}
	for _, id := range slices.Sorted(maps.Keys(e.containers)) {
		if c := e.containers[id].c; c.State == Running || c.State == Starting {
			s.Publications = append(s.Publications, publications(c)...)
		}
	}
	return s
}

// tellResolver hands the names of what runs at this instant to the resolver.
func (e *Engine) tellResolver() {
	if e.cfg.Resolver == nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	var names []Name
	for _, en := range e.containers {
		c := en.c
		n, ok := e.networks[firstOf(c.Spec.Network, DefaultNetwork)]
		if c.State != Running || !c.Addr.IsValid() || !ok {
			continue
		}
		for _, host := range slices.Concat([]string{c.Name, c.ShortID()}, c.Spec.Aliases, en.aliases) {
			names = append(names, Name{Network: n.Subnet, Host: host, Addr: c.Addr})
		}
	}
	e.cfg.Resolver.SetNames(names)
}
