package rollout

import (
	"slices"
	"time"

	"naru/naru"
	"naru/target"
)

// recreating is the step of a start in which services are recreated: all that can be made ready beside the old is. It
// is persisted before an old set is touched, so that the time of what comes now counts from there.
const recreating = 1

// recreates reports whether this rollout recreates the service: both releases have it, with different sets, and one of
// them says that it must not run beside another.
func (v view) recreates(name naru.ServiceName) bool {
	from, to := v.from.key(name), v.to.key(name)
	return from != "" && to != "" && from != to && (v.alone(from) || v.alone(to))
}

func (v view) recreatesAny() bool {
	return slices.ContainsFunc(v.to.services(), func(s naru.ReleasedService) bool { return v.recreates(s.Name) })
}

// hasTurn reports whether a service that is recreated belongs to the new release already: the old one's set goes as soon
// as those that the new set depends on are ready, and once it goes there is no way back but failure. Before the
// step comes, what another rollout has recreated stays.
func (v view) hasTurn(name naru.ServiceName) bool {
	switch {
	case !v.recreates(name):
		return false
	case v.Rollout.State != naru.RolloutStarting:
		return true
	case v.stands(v.from.key(name)):
		return v.Rollout.Step == recreating && !v.waits(name)
	default:
		return v.Rollout.Step == recreating || v.stands(v.to.key(name))
	}
}

// stands reports whether the set is there to stay.
func (v view) stands(key naru.SetKey) bool {
	st, ok := v.Observed.Set(key)
	return ok && !st.Removing
}

// isLater reports whether the service's new set need not be ready yet: the services that are recreated, and those that
// depend on them, come when the others are.
func (v view) isLater(name naru.ServiceName) bool {
	if v.Rollout.State != naru.RolloutStarting || v.Rollout.Step == recreating {
		return false
	}
	s, ok := v.to.service(name)
	return ok && (v.recreates(name) || slices.ContainsFunc(s.DependsOn, v.isLater))
}

// alone reports whether the set must not be there together with another of its service. A set that nobody knows is not
// trusted.
func (v view) alone(key naru.SetKey) bool {
	return !v.knows(key) || slices.ContainsFunc(v.known, func(r release) bool {
		s, ok := r.withKey(key)
		return ok && s.Rollout.Strategy == naru.Recreate
	})
}

// isKeptOut reports whether a set cannot be made, or made larger, before something of its service has gone: another
// set, if one of the two must be alone, or, if it must be alone itself, instances of its own that still stop.
func (v view) isKeptOut(name naru.ServiceName, key naru.SetKey) bool {
	return slices.ContainsFunc(v.Observed.Sets, func(st target.SetStatus) bool {
		if st.Key == key {
			return v.alone(key) && (st.Removing || len(st.Instances) > st.Wanted)
		}
		return st.Service == name && (v.alone(key) || v.alone(st.Key))
	})
}

// timeToStop is what the target may take until the old set of a service that is recreated is gone: it drains within
// the grace and stops within another.
func (v view) timeToStop(name naru.ServiceName) time.Duration {
	old, _ := v.from.service(name)
	if !v.recreates(name) {
		return 0
	}
	if old.StopGrace > 0 {
		return 2 * old.StopGrace
	}
	return 2 * naru.DefaultStopGrace
}

// timeToRecreate is what all recreated services together may take.
func (v view) timeToRecreate() time.Duration {
	var longest time.Duration
	for _, s := range v.to.services() {
		if v.recreates(s.Name) {
			longest = max(longest, v.timeToReady(s))
		}
	}
	return longest
}
