package rollout

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"naru/naru"
	"naru/target"
)

// traffic is who should get the requests in the rollout's present state and step.
func (v view) traffic() target.Traffic {
	switch v.Rollout.State {
	case naru.RolloutPending, naru.RolloutStarting:
		return v.withNewcomers(v.old())
	case naru.RolloutShifting:
		if v.Rollout.Step < v.steps() {
			return v.withNewcomers(v.mixed())
		}
	}
	return v.all(v.goal())
}

// all gives everything to one release.
func (v view) all(r release) target.Traffic {
	t := target.Traffic{Routes: v.routes(r)}
	for _, s := range r.services() {
		t = weigh(t, s.Name, target.Weight{Set: s.SetKey(r.ConfigVersion), Release: r.Number, Weight: 100})
	}
	return t
}

// old gives everything to the old release, except what it has no sets for any more. Whose turn it is to be recreated has
// its traffic ahead of its set, which gets it at the moment it is ready.
func (v view) old() target.Traffic {
	t := v.all(v.from)
	for name := range t.Services {
		if v.hasTurn(name) {
			t.Services[name] = []target.Weight{{Set: v.to.key(name), Release: v.to.Number, Weight: 100}}
		}
	}
	return t
}

// mixed is the old release's traffic, of which services with a canary give their step's share to the new.
func (v view) mixed() target.Traffic {
	t := v.old()
	for _, s := range v.to.services() {
		if v.isCanary(s) {
			share := s.Rollout.Steps[min(v.Rollout.Step, len(s.Rollout.Steps)-1)].Weight
			t.Services[s.Name][0].Weight = 100 - share
			t = weigh(t, s.Name, target.Weight{Set: v.to.key(s.Name), Release: v.to.Number, Weight: share})
		}
	}
	return t
}

// withNewcomers adds the services that only the new release has, once they are ready: their names must lead to them
// while the services that depend on them start. No route leads to them yet.
func (v view) withNewcomers(t target.Traffic) target.Traffic {
	for _, s := range v.to.services() {
		key := v.to.key(s.Name)
		if _, old := v.from.service(s.Name); !old && (v.isReady(key) || v.Observed.Traffic.Weighs(key)) {
			t = weigh(t, s.Name, target.Weight{Set: key, Release: v.to.Number, Weight: 100})
		}
	}
	return t
}

func weigh(t target.Traffic, name naru.ServiceName, w target.Weight) target.Traffic {
	if t.Services == nil {
		t.Services = map[naru.ServiceName][]target.Weight{}
	}
	t.Services[name] = append(t.Services[name], w)
	return t
}

// isCanary reports whether the service moves in steps: it asks for them, and there is an old set to share with, at the
// same time.
func (v view) isCanary(s naru.ReleasedService) bool {
	_, old := v.from.service(s.Name)
	return s.Rollout.Strategy == naru.Canary && len(s.Rollout.Steps) > 0 && old && v.isNew(v.to.key(s.Name)) && !v.recreates(s.Name)
}

// steps is how many steps come before the last one, which gives the new release everything: 0 without a canary. With
// several canaries they step together, and one with fewer steps stays at its last.
func (v view) steps() int {
	n := 0
	for _, s := range v.to.services() {
		if v.isCanary(s) {
			n = max(n, len(s.Rollout.Steps))
		}
	}
	return n
}

// pause is how long a step lasts at least; the last one takes no time.
func (v view) pause(step int) time.Duration {
	var longest time.Duration
	for _, s := range v.to.services() {
		if v.isCanary(s) && step < len(s.Rollout.Steps) {
			longest = max(longest, s.Rollout.Steps[step].Pause)
		}
	}
	return longest
}

func (v view) routes(r release) []target.RouteRule {
	if r.Release == nil {
		return nil
	}
	return Routes(*r.Release, v.Domain)
}

// Routes are where a release answers from outside: a route without a host has the app's own, which is its label under
// the domain. They are sorted by host and path.
func Routes(r naru.Release, domain string) []target.RouteRule {
	var rules []target.RouteRule
	for _, s := range r.Services {
		for _, spec := range s.Routes {
			host := cmp.Or(strings.ToLower(spec.Host), r.Label()+"."+domain)
			rules = append(rules, target.RouteRule{Host: host, Path: cmp.Or(spec.Path, "/"), Service: s.Name})
		}
	}
	slices.SortFunc(rules, func(a, b target.RouteRule) int {
		return cmp.Or(cmp.Compare(a.Host, b.Host), cmp.Compare(a.Path, b.Path), cmp.Compare(a.Service, b.Service))
	})
	return rules
}
