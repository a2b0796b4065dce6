package rollout

import (
	"slices"
	"time"

	"naru/naru"
	"naru/target"
)

// view is a situation with its releases made easy to ask.
type view struct {
	Situation
	from, to release
	known    []release // these two, and those of which sets are left
}

func see(s Situation) view {
	v := view{Situation: s, from: release{s.From}, to: release{s.To}}
	v.known = append(v.known, v.from, v.to)
	for i := range s.Left {
		v.known = append(v.known, release{&s.Left[i]})
	}
	return v
}

// release is a release that may be nothing.
type release struct{ *naru.Release }

func (r release) services() []naru.ReleasedService {
	if r.Release == nil {
		return nil
	}
	return r.Services
}

func (r release) service(name naru.ServiceName) (naru.ReleasedService, bool) {
	for _, s := range r.services() {
		if s.Name == name {
			return s, true
		}
	}
	return naru.ReleasedService{}, false
}

// key is the service's set, or "" when the release has no such service.
func (r release) key(name naru.ServiceName) naru.SetKey {
	s, ok := r.service(name)
	if !ok {
		return ""
	}
	return s.SetKey(r.ConfigVersion)
}

// withKey is the service whose set has the key.
func (r release) withKey(key naru.SetKey) (naru.ReleasedService, bool) {
	for _, s := range r.services() {
		if s.SetKey(r.ConfigVersion) == key {
			return s, true
		}
	}
	return naru.ReleasedService{}, false
}

// knows reports whether it can be told what the set is.
func (v view) knows(key naru.SetKey) bool {
	return slices.ContainsFunc(v.known, func(r release) bool { return r.hasKey(key) })
}

func (r release) hasKey(key naru.SetKey) bool {
	_, ok := r.withKey(key)
	return ok
}

// wanted is the sets that should be there.
type wanted []target.Set

func (w wanted) has(key naru.SetKey) bool {
	return slices.ContainsFunc(w, func(s target.Set) bool { return s.Key == key })
}

// sets are the release's, each with the instances that its service should have.
func (v view) sets(r release) wanted {
	var out wanted
	for _, s := range r.services() {
		out = append(out, target.Set{AppEnv: r.AppEnv, Key: s.SetKey(r.ConfigVersion), Release: r.Number, Service: s, Instances: v.instances(s)})
	}
	return out
}

func (v view) instances(s naru.ReleasedService) int {
	if n, ok := v.Scales[s.Name]; ok {
		return n
	}
	return s.Scale
}

// goal is the release that serves, or will once the rollout's present state has done its work.
func (v view) goal() release {
	if v.Rollout.Goal() == v.Rollout.To {
		return v.to
	}
	return v.from
}

// serving is the sets of the goal.
func (v view) serving() wanted { return v.sets(v.goal()) }

// both is the old sets and the new; one that they share has the larger number of instances until all is decided. Of a
// service that is recreated it is one or the other.
func (v view) both() wanted {
	out := slices.DeleteFunc(v.sets(v.from), func(s target.Set) bool { return v.hasTurn(s.Service.Name) })
	for _, set := range v.sets(v.to) {
		i := slices.IndexFunc(out, func(s target.Set) bool { return s.Key == set.Key })
		switch name := set.Service.Name; {
		case i >= 0:
			out[i].Instances = max(out[i].Instances, set.Instances)
		case !v.recreates(name) || v.hasTurn(name):
			out = append(out, set)
		}
	}
	return out
}

// isNew reports whether the set is one that this rollout brings; only such can fail it.
func (v view) isNew(key naru.SetKey) bool { return v.to.hasKey(key) && !v.from.hasKey(key) }

// isReady reports whether the set has all the instances that it should have now.
func (v view) isReady(key naru.SetKey) bool {
	st, ok := v.Observed.Set(key)
	return ok && st.IsReady()
}

// lacks reports whether the new release has a new set of the service, and it is not ready.
func (v view) lacks(name naru.ServiceName) bool {
	key := v.to.key(name)
	return v.isNew(key) && !v.isReady(key)
}

// waits reports whether a new set that the service depends on is not ready.
func (v view) waits(name naru.ServiceName) bool {
	s, _ := v.to.service(name)
	return slices.ContainsFunc(s.DependsOn, v.lacks)
}

// newAreReady reports whether all new sets are ready whose time it is.
func (v view) newAreReady() bool {
	return !slices.ContainsFunc(v.to.services(), func(s naru.ReleasedService) bool { return v.lacks(s.Name) && !v.isLater(s.Name) })
}

// since is when the present step began, or when the daemon came back in the middle of it: after its death, or the
// machine's, instances need their time again. A step that is to begin yet began before the clock was set back.
func (v view) since() time.Time {
	if v.Awake.After(v.Rollout.StepSince) || v.Rollout.StepSince.After(v.Now) {
		return v.Awake
	}
	return v.Rollout.StepSince
}

// startDeadline is when a new set must be ready: its own time after those it depends on had theirs. While services are
// recreated, all others count as depending on them: who was ready may miss them.
func (v view) startDeadline(s naru.ReleasedService) time.Time {
	took := v.timeToReady(s)
	if v.Rollout.Step == recreating && !v.recreates(s.Name) {
		took = max(took, v.timeToRecreate()+readyTimeout(s))
	}
	return v.since().Add(took)
}

func (v view) timeToReady(s naru.ReleasedService) time.Duration {
	var longest time.Duration
	for _, name := range s.DependsOn {
		if d, ok := v.to.service(name); ok && v.isNew(v.to.key(name)) {
			longest = max(longest, v.timeToReady(d))
		}
	}
	return longest + v.timeToStop(s.Name) + readyTimeout(s)
}

func readyTimeout(s naru.ReleasedService) time.Duration {
	if s.Rollout.ReadyTimeout > 0 {
		return s.Rollout.ReadyTimeout
	}
	return naru.DefaultReadyTimeout
}
