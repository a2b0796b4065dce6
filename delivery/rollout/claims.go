package rollout

import (
	"fmt"
	"net/netip"
	"strconv"

	"naru/naru"
	"naru/store"
	"naru/target"
)

// claims is what a release needs for itself on this machine.
type claims struct {
	naru.AppEnv
	release naru.ReleaseNumber
	routes  []target.RouteRule
	ports   []port
}

type port struct {
	naru.PublishedPort
	service naru.ServiceName
}

func (p port) String() string {
	host := ""
	if p.HostIP.IsValid() && !p.HostIP.IsUnspecified() {
		host = netip.AddrPortFrom(p.HostIP, p.HostPort).String()
	} else {
		host = strconv.Itoa(int(p.HostPort))
	}
	return host + "/" + p.Protocol
}

// checkClaims refuses a rollout to a release that claims something twice, or that another app holds.
func (r *Rollouts) checkClaims(tx *store.Tx, ro naru.Rollout) error {
	if ro.To == 0 {
		return nil
	}
	to, err := r.claims(tx, ro.AppEnv, ro.To)
	if err != nil {
		return err
	}
	if err := to.conflictWithin(); err != nil {
		return err
	}
	others, err := newest(tx)
	if err != nil {
		return err
	}
	for _, other := range others {
		if err := r.checkAgainst(tx, to, other); err != nil {
			return err
		}
	}
	return nil
}

// checkAgainst compares with the releases that another app may be serving: both sides of an open rollout.
func (r *Rollouts) checkAgainst(tx *store.Tx, to claims, other naru.Rollout) error {
	if other.AppEnv == to.AppEnv {
		return nil
	}
	held := []naru.ReleaseNumber{other.Goal()}
	if !other.State.Ended() {
		held = append(held, other.From)
	}
	for _, n := range held {
		if n == 0 {
			continue
		}
		holder, err := r.claims(tx, other.AppEnv, n)
		if err != nil {
			return err
		}
		if err := to.conflictWith(holder); err != nil {
			return err
		}
	}
	return nil
}

func (r *Rollouts) claims(tx *store.Tx, ae naru.AppEnv, n naru.ReleaseNumber) (claims, error) {
	rel, err := r.cfg.Releases.Release(tx, ae, n)
	if err != nil {
		return claims{}, fmt.Errorf("read what %s holds: %w", ae, err)
	}
	c := claims{AppEnv: ae, release: n, routes: Routes(rel, r.cfg.Domain)}
	for _, s := range rel.Services {
		for _, p := range s.Ports {
			c.ports = append(c.ports, port{p, s.Name})
		}
	}
	return c, nil
}

// conflictWithin finds two services of one release that claim the same.
func (c claims) conflictWithin() error {
	for i, a := range c.routes {
		for _, b := range c.routes[:i] {
			if a.Host == b.Host && a.Path == b.Path {
				return naru.Errorf(naru.Conflict, "route %s%s is claimed by services %s and %s of %s: give one another host or path",
					a.Host, a.Path, b.Service, a.Service, c.AppEnv)
			}
		}
	}
	for i, a := range c.ports {
		for _, b := range c.ports[:i] {
			if a.Overlaps(b.PublishedPort) {
				return naru.Errorf(naru.Conflict, "port %s of the host is published by services %s and %s of %s: give one another port",
					a, b.service, a.service, c.AppEnv)
			}
		}
	}
	return nil
}

// conflictWith names what the holder holds already.
func (c claims) conflictWith(holder claims) error {
	for _, a := range c.routes {
		for _, b := range holder.routes {
			if a.Host == b.Host && a.Path == b.Path {
				return naru.Errorf(naru.Conflict, "route %s%s of service %s is held by service %s of app %s (%s): give one another host or path",
					a.Host, a.Path, a.Service, b.Service, holder.AppEnv, holder.release)
			}
		}
	}
	for _, a := range c.ports {
		for _, b := range holder.ports {
			if a.Overlaps(b.PublishedPort) {
				return naru.Errorf(naru.Conflict, "port %s of the host, of service %s, is held by service %s of app %s (%s): give one another port",
					a, a.service, b.service, holder.AppEnv, holder.release)
			}
		}
	}
	return nil
}
