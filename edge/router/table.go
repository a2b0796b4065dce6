package router

import (
	"net/netip"
	"strings"
	"sync/atomic"

	"naru/naru"
)

// table is what requests are routed by. It never changes once it is made: another takes its place.
type table struct {
	hosts    map[string]paths
	replaced chan struct{} // closed when another has taken this table's place
}

// paths are a host's routes by path prefix, without the slash at its end; "" is the route of all paths.
type paths map[string]*route

// route is a route with its endpoints resolved.
type route struct {
	backends []backend
	schedule []uint16       // indices into backends, in the order in which they take turns
	turn     *atomic.Uint64 // counts requests; outlives the table, so that a swap does not begin the order anew
}

// backend is the endpoints that share a weight.
type backend struct {
	upstreams []*upstream
	turn      *atomic.Uint64
}

// newTable resolves routes. Turns are taken over from the old table, which may be nil.
func newTable(routes []naru.Route, old *table, resolve func(netip.AddrPort) *upstream) *table {
	t := &table{hosts: make(map[string]paths), replaced: make(chan struct{})}
	for _, spec := range routes {
		host, prefix := canonicalHost(spec.Host), strings.TrimRight(spec.Path, "/")
		if t.hosts[host] == nil {
			t.hosts[host] = make(paths)
		}
		if t.hosts[host][prefix] == nil {
			t.hosts[host][prefix] = newRoute(spec, old.exact(host, prefix), resolve)
		}
	}
	return t
}

func newRoute(spec naru.Route, before *route, resolve func(netip.AddrPort) *upstream) *route {
	r := &route{turn: new(atomic.Uint64)}
	if before != nil {
		r.turn = before.turn
	}
	var weights []int
	for _, b := range spec.Backends {
		if b.Weight <= 0 || len(b.Endpoints) == 0 {
			continue
		}
		resolved := backend{turn: new(atomic.Uint64)}
		for _, addr := range b.Endpoints {
			resolved.upstreams = append(resolved.upstreams, resolve(addr))
		}
		r.backends = append(r.backends, resolved)
		weights = append(weights, b.Weight)
	}
	r.schedule = schedule(weights)
	return r
}

func (t *table) exact(host, prefix string) *route {
	if t == nil {
		return nil
	}
	return t.hosts[host][prefix]
}

// find is the route with the longest prefix of path that ends where a segment does; nil when there is none.
func (t *table) find(host, path string) *route {
	routes, ok := t.hosts[host] // as browsers send it on port 80
	if !ok {
		routes = t.hosts[canonicalHost(host)]
	}
	for prefix := path; ; {
		if r := routes[prefix]; r != nil {
			return r
		}
		end := strings.LastIndexByte(prefix, '/')
		if end < 0 {
			return routes[""]
		}
		prefix = prefix[:end]
	}
}

// canonicalHost is a Host header without what does not tell hosts apart: case, port, and the dot of the DNS root.
func canonicalHost(host string) string {
	if i := strings.LastIndexByte(host, ':'); i >= 0 && strings.IndexByte(host[i:], ']') < 0 {
		host = host[:i]
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}
