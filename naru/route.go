package naru

import "net/netip"

// Route leads requests of a host and path prefix to the instances of a service, weighted by release.
type Route struct {
	AppEnv
	Host     string      `json:"host"`
	Path     string      `json:"path"` // prefix on segment borders; "/" matches all
	Service  ServiceName `json:"service"`
	Backends []Backend   `json:"backends"`
}

// Backend is the ready instances of one set and its share of the route's traffic. A share is Weight over the sum of
// the weights of the backends that have an endpoint.
type Backend struct {
	Set       SetKey           `json:"set"`
	Release   ReleaseNumber    `json:"release"`
	Weight    int              `json:"weight"`
	Endpoints []netip.AddrPort `json:"endpoints"`
}
