// Package router leads HTTP requests to instances. It receives routes as one value (who has which host and path, and
// which endpoints share its requests at which weights), owns the connections to those endpoints and the requests in
// flight, and hands on nothing: what it sends is what a client asked. No request is lost while routes change, as a
// request joins an endpoint only while that endpoint is in the table, and Drain tells when its last one has left.
package router

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"naru/naru"
)

// Options tune a Router; the zero value is fit for use.
type Options struct {
	Log         *slog.Logger  // what went wrong between router and endpoints; default: nothing is logged
	DialTimeout time.Duration // for one connection to an endpoint; default 2s
	Patience    time.Duration // how long a request waits for a route's endpoint when none can be reached; default none
	Grace       time.Duration // how long Serve lets requests finish after its context has ended; default 30s
}

// The defaults of Options, and how long an endpoint that refused a connection is passed over.
const (
	defaultDialTimeout = 2 * time.Second
	defaultGrace       = 30 * time.Second
	passOver           = time.Second
)

// Router is an http.Handler that forwards requests by its table.
type Router struct {
	opts    Options
	dialer  net.Dialer
	table   atomic.Pointer[table]
	leaving atomic.Bool // Serve's context has ended: connections close after their next response
	buffers sync.Pool   // of *[]byte, for copying bodies
	tunnels tunnels

	mu        sync.Mutex // orders SetRoutes
	upstreams map[netip.AddrPort]*upstream
}

// New returns a router with an empty table.
func New(opts Options) *Router {
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.DialTimeout == 0 {
		opts.DialTimeout = defaultDialTimeout
	}
	if opts.Grace == 0 {
		opts.Grace = defaultGrace
	}
	r := &Router{opts: opts, upstreams: make(map[netip.AddrPort]*upstream)}
	r.dialer = net.Dialer{Timeout: opts.DialTimeout}
	r.buffers.New = func() any { return new(make([]byte, copyBuffer)) }
	r.table.Store(newTable(nil, nil, nil))
	return r
}

// SetRoutes replaces the table at once. Of two routes with the same host and path the first counts. Endpoints that
// leave get no new requests from here on; those they have go on, and Drain waits for them.
func (r *Router) SetRoutes(routes []naru.Route) {
	r.mu.Lock()
	defer r.mu.Unlock()
	old := r.table.Load()
	r.table.Store(newTable(routes, old, r.upstream))
	close(old.replaced)
	r.retire(routes)
}

// upstream is the one of an address, made when it is new. A retired one that comes back is the same again.
func (r *Router) upstream(addr netip.AddrPort) *upstream {
	u := r.upstreams[addr]
	if u == nil {
		u = &upstream{addr: addr, address: addr.String(), dialer: &r.dialer}
		r.upstreams[addr] = u
	}
	u.revive()
	return u
}

// retire takes leave of the upstreams that no route names any more. They stay known while they have requests.
func (r *Router) retire(routes []naru.Route) {
	named := make(map[netip.AddrPort]bool)
	for _, route := range routes {
		for _, b := range route.Backends {
			for _, addr := range b.Endpoints {
				named[addr] = true
			}
		}
	}
	for addr, u := range r.upstreams {
		if named[addr] {
			continue
		}
		u.retire()
		if u.inflight.Load() == 0 {
			delete(r.upstreams, addr)
		}
	}
}

// Drain waits until no request is in flight to the endpoints, upgraded connections included. Endpoints should have
// left the table before, or requests keep coming.
func (r *Router) Drain(ctx context.Context, endpoints []netip.AddrPort) error {
	for _, addr := range endpoints {
		r.mu.Lock()
		u := r.upstreams[addr]
		r.mu.Unlock()
		if u == nil {
			continue
		}
		if err := u.wait(ctx); err != nil {
			return fmt.Errorf("drain %s: %d requests are still in flight: %w", addr, u.inflight.Load(), err)
		}
	}
	return nil
}

// ServeHTTP forwards one request.
func (r *Router) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if r.leaving.Load() {
		w.Header().Set("Connection", "close")
	}
	x := exchange{router: r, w: w, req: req}
	x.run()
}
