package engine

import (
	"cmp"
	"context"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"naru/engine/network"
	"naru/naru"
)

// Network is a network with what the engine alone knows of it.
type Network struct {
	network.Network
	Custom    bool      `json:"custom,omitempty"` // somebody asked for it by name, so that pruning may take it away
	CreatedAt time.Time `json:"created_at,omitzero"`
}

// NetworkRequest asks for a network; what is zero is chosen.
type NetworkRequest struct {
	Name     string
	Subnet   netip.Prefix
	Gateway  netip.Addr
	Subnet6  netip.Prefix
	Internal bool
}

// EnsureNetwork returns the network of that name and makes it when it is new.
func (e *Engine) EnsureNetwork(ctx context.Context, name string) (network.Network, error) {
	e.netMu.Lock()
	defer e.netMu.Unlock()
	if n, ok := e.lookupNetwork(name); ok {
		return n.Network, nil
	}
	n, err := e.addNetwork(ctx, NetworkRequest{Name: name}, false)
	return n.Network, err
}

// CreateNetwork makes a network that is not there yet.
func (e *Engine) CreateNetwork(ctx context.Context, r NetworkRequest) (Network, error) {
	e.netMu.Lock()
	defer e.netMu.Unlock()
	if _, ok := e.lookupNetwork(r.Name); ok || slices.Contains([]string{DefaultNetwork, NoNetwork, HostNetwork}, r.Name) {
		return Network{}, naru.Errorf(naru.Conflict, "there is a network %s already: choose another name", r.Name)
	}
	return e.addNetwork(ctx, r, true)
}

// addNetwork writes a network down, and then makes it. The caller holds netMu.
func (e *Engine) addNetwork(ctx context.Context, r NetworkRequest, custom bool) (Network, error) {
	n, err := e.newNetwork(ctx, r)
	if err != nil {
		return Network{}, err
	}
	n.Custom = custom
	if err := e.saveNetwork(ctx, n); err != nil {
		return Network{}, err
	}
	e.mu.Lock()
	e.networks[r.Name] = n
	e.mu.Unlock()
	if !e.hasBegun() {
		return n, nil
	}
	return n, e.applyLocked(ctx)
}

func (e *Engine) lookupNetwork(name string) (Network, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	n, ok := e.networks[name]
	return n, ok
}

// Network returns the network of that name.
func (e *Engine) Network(name string) (Network, error) {
	if n, ok := e.lookupNetwork(name); ok {
		return n, nil
	}
	return Network{}, naru.Errorf(naru.NotFound, "there is no network %q", name)
}

// Networks returns all networks, by name.
func (e *Engine) Networks() []Network {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.SortedFunc(maps.Values(e.networks), func(a, b Network) int { return cmp.Compare(a.Name, b.Name) })
}

// newNetwork picks a bridge and a subnet for a network: one that neither another network nor the host itself uses.
func (e *Engine) newNetwork(ctx context.Context, r NetworkRequest) (Network, error) {
	if !validName.MatchString(r.Name) {
		return Network{}, naru.Errorf(naru.InvalidArgument, "network name %q: use letters, digits, '_', '.' and '-'", r.Name)
	}
	used, err := network.HostSubnets(ctx, e.tag)
	if err != nil {
		return Network{}, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	bridges := map[string]bool{}
	for _, n := range e.networks {
		used, bridges[n.Bridge] = append(used, n.Subnet), true
	}
	subnet, err := chooseSubnet(r, e.cfg.Subnet, used)
	if err != nil {
		return Network{}, err
	}
	n := Network{Network: network.Network{Name: r.Name, Subnet: subnet, Gateway: r.Gateway, Internal: r.Internal}, CreatedAt: time.Now().UTC()}
	if !n.Gateway.IsValid() {
		n.Gateway = network.Gateway(subnet)
	}
	i := 0
	for n.Bridge = network.BridgeName(e.tag, i); bridges[n.Bridge]; n.Bridge = network.BridgeName(e.tag, i) {
		i++
	}
	if n.Subnet6, err = e.chooseSubnet6(r, i); err != nil {
		return Network{}, err
	}
	if n.Subnet6.IsValid() {
		n.Gateway6 = network.Gateway(n.Subnet6)
	}
	return n, nil
}

// RemoveNetwork removes a network that no container is on. The default one stays.
func (e *Engine) RemoveNetwork(ctx context.Context, name string) error {
	if name == DefaultNetwork {
		return naru.Errorf(naru.FailedPrecondition, "network %s is the default one: it stays", name)
	}
	e.netMu.Lock()
	defer e.netMu.Unlock()
	if _, err := e.Network(name); err != nil {
		return err
	}
	if user := e.userOf(name); user != "" {
		return naru.Errorf(naru.FailedPrecondition, "network %s is used by container %s: remove that first, or disconnect it", name, user)
	}
	if err := e.forgetNetwork(ctx, name); err != nil {
		return err
	}
	e.mu.Lock()
	delete(e.networks, name)
	e.mu.Unlock()
	return e.applyLocked(ctx)
}

// PruneNetworks removes the networks that somebody made and no container is on, and returns their names.
func (e *Engine) PruneNetworks(ctx context.Context) ([]string, error) {
	var removed []string
	for _, n := range e.Networks() {
		if !n.Custom || e.userOf(n.Name) != "" {
			continue
		}
		err := e.RemoveNetwork(ctx, n.Name)
		if code := naru.CodeOf(err); code == naru.FailedPrecondition || code == naru.NotFound {
			continue // somebody has just come, or removed it
		}
		if err != nil {
			return removed, err
		}
		removed = append(removed, n.Name)
	}
	return removed, nil
}

// userOf names a container on the network, or returns "".
func (e *Engine) userOf(name string) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, en := range e.containers {
		if slices.ContainsFunc(en.c.Spec.joins(), func(j Join) bool { return j.Network == name }) {
			return en.c.Name
		}
	}
	return ""
}

// networkOf is the network of a container's first interface, or of the container whose network it shares; zero for one
// that has no gateway.
func (e *Engine) networkOf(c Container) network.Network {
	if peer, ok := strings.CutPrefix(c.Spec.Network, containerNetwork); ok {
		if other, err := e.find(peer); err == nil {
			c = e.snapshot(other)
		}
	}
	joins := c.Spec.joins()
	if len(joins) == 0 {
		return network.Network{}
	}
	n, _ := e.lookupNetwork(joins[0].Network)
	return n.Network
}
