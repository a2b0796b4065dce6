package machine

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"reflect"
	"slices"

	"naru/engine/network"
	"naru/naru"
)

// picture is all that the world sees of what runs here.
type picture struct {
	routes       []naru.Route
	aliases      map[string][]string              // container → names
	publications map[string][]network.Publication // by app and service
}

// publish shows the present picture: first to who asks for names and ports, then, in one swap, to the router.
func (m *Machine) publish(ctx context.Context) error {
	m.publishing.Lock()
	defer m.publishing.Unlock()
	m.mu.Lock()
	p := m.draw()
	m.mu.Unlock()
	m.engine.SetAliases(p.aliases)
	if !reflect.DeepEqual(p.routes, m.routed) {
		m.router.SetRoutes(p.routes)
		m.routed = p.routes
	}
	for key, pubs := range p.publications {
		if slices.EqualFunc(pubs, m.published[key], samePublication) {
			continue
		}
		if err := m.engine.Publish(ctx, key, pubs); err != nil {
			return fmt.Errorf("publish the ports of %s: %w", key, err)
		}
		m.published[key] = pubs
	}
	for key := range m.published {
		if _, ok := p.publications[key]; ok {
			continue
		}
		if err := m.engine.Publish(ctx, key, nil); err != nil {
			return fmt.Errorf("take back the ports of %s: %w", key, err)
		}
		delete(m.published, key)
	}
	return nil
}

func samePublication(a, b network.Publication) bool {
	return a.HostIP == b.HostIP && a.HostPort == b.HostPort && a.Protocol == b.Protocol && slices.Equal(a.Backends, b.Backends)
}

// draw makes the picture from what is wanted and what is ready. The caller holds m.mu.
func (m *Machine) draw() picture {
	p := picture{aliases: map[string][]string{}, publications: map[string][]network.Publication{}}
	for ae, a := range m.apps {
		p.routes = append(p.routes, a.routes(ae)...)
		for _, s := range a.sets {
			weighed := a.traffic.Weighs(s.Key)
			for _, i := range s.instances {
				p.aliases[i.id] = nil
				if weighed && i.state == naru.InstanceReady {
					p.aliases[i.id] = []string{string(s.Service.Name)}
				}
			}
			if weighed && len(s.Service.Ports) > 0 {
				key := ae.String() + " " + string(s.Service.Name)
				p.publications[key] = s.publish(p.publications[key])
			}
		}
	}
	slices.SortFunc(p.routes, func(a, b naru.Route) int {
		return cmp.Or(cmp.Compare(a.Host, b.Host), cmp.Compare(a.Path, b.Path))
	})
	return p
}

// routes joins the app's route rules with the ready endpoints of the sets that they weigh.
func (a *app) routes(ae naru.AppEnv) []naru.Route {
	var out []naru.Route
	for _, rule := range a.traffic.Routes {
		r := naru.Route{AppEnv: ae, Host: rule.Host, Path: rule.Path, Service: rule.Service}
		for _, w := range a.traffic.Services[rule.Service] {
			b := naru.Backend{Set: w.Set, Release: w.Release, Weight: w.Weight}
			if s, ok := a.sets[w.Set]; ok {
				b.Endpoints = s.ready()
			}
			r.Backends = append(r.Backends, b)
		}
		out = append(out, r)
	}
	return out
}

// ready returns the endpoints of the set's ready instances, sorted.
func (s *set) ready() []netip.AddrPort {
	var out []netip.AddrPort
	for _, i := range s.instances {
		if ep := s.endpoint(i); i.state == naru.InstanceReady && ep.IsValid() {
			out = append(out, ep)
		}
	}
	slices.SortFunc(out, netip.AddrPort.Compare)
	return out
}

// publish adds the set's ready instances to what its service publishes.
func (s *set) publish(pubs []network.Publication) []network.Publication {
	if pubs == nil {
		for _, p := range s.Service.Ports {
			pubs = append(pubs, network.Publication{HostIP: p.HostIP, HostPort: p.HostPort, Protocol: p.Protocol})
		}
	}
	for n, p := range s.Service.Ports {
		if n >= len(pubs) {
			break // another release publishes fewer ports; the swap to one of them is not far
		}
		for _, i := range s.instances {
			if i.state != naru.InstanceReady {
				continue
			}
			pubs[n].Backends = append(pubs[n].Backends, netip.AddrPortFrom(i.addr, p.Port))
			if i.addr6.IsValid() {
				pubs[n].Backends = append(pubs[n].Backends, netip.AddrPortFrom(i.addr6, p.Port))
			}
		}
		slices.SortFunc(pubs[n].Backends, netip.AddrPort.Compare)
	}
	return pubs
}
