//go:build !front

package main

import (
	"context"

	"naru/api"
	"naru/engine"
	"naru/engine/network"
	"naru/naru"
)

// networks are the engine's as the API shows them.
type networks struct{ e *engine.Engine }

// List implements server.Networks.
func (n networks) List(ctx context.Context) ([]api.Network, error) {
	var out []api.Network
	for _, one := range n.e.Networks() {
		shown, err := n.show(ctx, one)
		if err != nil {
			return nil, err
		}
		out = append(out, shown)
	}
	return out, nil
}

// Get implements server.Networks.
func (n networks) Get(ctx context.Context, name string) (api.Network, error) {
	one, err := n.e.Network(name)
	if err != nil {
		return api.Network{}, err
	}
	return n.show(ctx, one)
}

// Create implements server.Networks.
func (n networks) Create(ctx context.Context, q api.NetworkCreate) (api.Network, error) {
	one, err := n.e.CreateNetwork(ctx, engine.NetworkRequest(q))
	if err != nil {
		return api.Network{}, err
	}
	return n.show(ctx, one)
}

// Remove implements server.Networks.
func (n networks) Remove(ctx context.Context, name string) error { return n.e.RemoveNetwork(ctx, name) }

// Prune implements server.Networks.
func (n networks) Prune(ctx context.Context) ([]string, error) { return n.e.PruneNetworks(ctx) }

// Connect implements server.Networks.
func (n networks) Connect(ctx context.Context, name string, q api.NetworkConnect) error {
	return n.e.ConnectNetwork(ctx, q.Container, engine.Join{Network: name, IP: q.IP, MAC: q.MAC, Aliases: q.Aliases})
}

// Disconnect implements server.Networks.
func (n networks) Disconnect(ctx context.Context, name, container string) error {
	return n.e.DisconnectNetwork(ctx, container, name)
}

// Path implements server.Networks.
func (n networks) Path(ctx context.Context, container string, port uint16, protocol string) (api.NetworkPath, error) {
	c, ways, err := n.e.Ways(ctx, container, port, protocol)
	if err != nil {
		return api.NetworkPath{}, err
	}
	out := api.NetworkPath{ID: c.ID, Name: c.Name, Ways: make([]api.NetworkWay, len(ways))}
	for i, w := range ways {
		out.Ways[i] = apiWay(w)
	}
	return out, nil
}

func apiWay(w network.Way) api.NetworkWay {
	out := api.NetworkWay{Port: w.Port, Protocol: w.Protocol}
	for _, h := range w.Hops {
		hop := api.NetworkHop{Kind: string(h.Kind), Name: h.Name, Index: h.Index, Text: h.Text, Missing: h.Missing}
		if h.Count != nil {
			hop.Connections, hop.Bytes = &h.Count.Connections, &h.Count.Bytes
		}
		out.Hops = append(out.Hops, hop)
	}
	return out
}

// show adds who is on the network now.
func (n networks) show(ctx context.Context, one engine.Network) (api.Network, error) {
	out := api.Network{
		Name: one.Name, Bridge: one.Bridge, Subnet: one.Subnet, Gateway: one.Gateway, Subnet6: one.Subnet6,
		Gateway6: one.Gateway6, Internal: one.Internal, Custom: one.Custom, CreatedAt: one.CreatedAt,
		Containers: []api.NetworkMember{},
	}
	containers, err := n.e.List(ctx)
	for _, c := range containers {
		for _, at := range c.Endpoints {
			if at.Network == one.Name && c.State == engine.Running {
				out.Containers = append(out.Containers, api.NetworkMember{ID: c.ID, Name: c.Name,
					NetworkEndpoint: api.NetworkEndpoint(at), Aliases: c.Spec.AliasesOn(one.Name)})
			}
		}
	}
	return out, err
}

// setNetworkOptions gives a spec for the engine what was asked of its networks.
func setNetworkOptions(spec *engine.ContainerSpec, o api.NetworkOptions) {
	spec.Aliases, spec.IP, spec.MAC, spec.DNS, spec.Hosts = o.Aliases, o.IP, o.MAC, o.DNS, o.Hosts
	spec.DNSSearch, spec.DNSOptions, spec.PublishAll, spec.Expose = o.DNSSearch, o.DNSOptions, o.PublishAll, o.Expose
	for _, j := range o.Networks {
		spec.Networks = append(spec.Networks, engine.Join(j))
	}
}

// networkOptions is the opposite.
func networkOptions(spec engine.ContainerSpec) api.NetworkOptions {
	o := api.NetworkOptions{Aliases: spec.Aliases, IP: spec.IP, MAC: spec.MAC, DNS: spec.DNS, Hosts: spec.Hosts,
		DNSSearch: spec.DNSSearch, DNSOptions: spec.DNSOptions, PublishAll: spec.PublishAll, Expose: spec.Expose}
	for _, j := range spec.Networks {
		o.Networks = append(o.Networks, api.NetworkJoin(j))
	}
	return o
}

func endpoints(c engine.Container) []api.NetworkEndpoint {
	var out []api.NetworkEndpoint
	for _, at := range c.Endpoints {
		out = append(out, api.NetworkEndpoint(at))
	}
	return out
}

// checkNetworks refuses networks that are not there: an app's come into being with it, but a name that somebody typed
// is a mistake.
func checkNetworks(e *engine.Engine, spec engine.ContainerSpec) error {
	for _, name := range spec.NetworkNames() {
		if name == engine.DefaultNetwork {
			continue
		}
		if _, err := e.Network(name); err != nil {
			return naru.Errorf(naru.NotFound, "there is no network %q: make it first (naru network create %s)", name, name)
		}
	}
	return nil
}
