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
}

func see(s Situation) view { return view{s, release{s.From}, release{s.To}} }

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

func (r release) hasKey(key naru.SetKey) bool {
	return slices.ContainsFunc(r.services(), func(s naru.ReleasedService) bool { return s.SetKey(r.ConfigVersion) == key })
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

// both is the old sets and the new; one that they share has the larger number of instances until all is decided.
func (v view) both() wanted {
	out := v.sets(v.from)
	for _, set := range v.sets(v.to) {
		i := slices.IndexFunc(out, func(s target.Set) bool { return s.Key == set.Key })
		if i < 0 {
			out = append(out, set)
			continue
		}
		out[i].Instances = max(out[i].Instances, set.Instances)
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

func (v view) newAreReady() bool {
	return !slices.ContainsFunc(v.to.services(), func(s naru.ReleasedService) bool {
		key := v.to.key(s.Name)
		return v.isNew(key) && !v.isReady(key)
	})
}

// since is when the present step began, or when the daemon came back in the middle of it: after its death, or the
// machine's, instances need their time again.
func (v view) since() time.Time {
	if v.Awake.After(v.Rollout.StepSince) {
		return v.Awake
	}
	return v.Rollout.StepSince
}

// startDeadline is when a new set must be ready: its own time after those it depends on had theirs.
func (v view) startDeadline(s naru.ReleasedService) time.Time {
	return v.since().Add(v.timeToReady(s))
}

func (v view) timeToReady(s naru.ReleasedService) time.Duration {
	var longest time.Duration
	for _, name := range s.DependsOn {
		if d, ok := v.to.service(name); ok && v.isNew(v.to.key(name)) {
			longest = max(longest, v.timeToReady(d))
		}
	}
	return longest + readyTimeout(s)
}

func readyTimeout(s naru.ReleasedService) time.Duration {
	if s.Rollout.ReadyTimeout > 0 {
		return s.Rollout.ReadyTimeout
	}
	return naru.DefaultReadyTimeout
}
