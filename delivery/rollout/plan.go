package rollout

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"naru/naru"
	"naru/target"
)

// Situation is all that a plan is made from.
type Situation struct {
	Now      time.Time
	Awake    time.Time // since when somebody has been looking: what took place in nobody's sight uses up no time
	Rollout  naru.Rollout
	From, To *naru.Release            // nil where the rollout says 0
	Scales   map[naru.ServiceName]int // asked for by hand, over the releases' own
	Domain   string                   // under which an app without a host of its own is reached
	Observed target.Observation
	Left     []naru.Release // besides From and To: those whose sets a rollout that gave way has left there
}

// Op is a step of a plan, in the words of the target, or an advance of the rollout itself.
type Op interface{ String() string }

// The steps. They are idempotent: whoever died in the middle of a plan makes a new one and goes on.
type (
	// ApplySet makes a set exist with so many instances. Its Variables are not resolved: a plan holds no secrets.
	ApplySet struct{ target.Set }
	// RemoveSet drains and stops a set.
	RemoveSet struct{ Key naru.SetKey }
	// SetTraffic moves all traffic in one swap.
	SetTraffic struct{ target.Traffic }
	// Advance changes the rollout's state or step. It is the last op of its plan: what follows from it is planned anew,
	// once it is persisted.
	Advance struct {
		State    naru.RolloutState
		Step     int
		Reason   string
		LogLines []string
	}
)

// Plan says what to do now; nothing when all is as it should be, or needs time. It is pure, so that the same plan is
// tested, executed, and made again after a crash. The rules:
//
//   - Old and new sets stand beside each other until the new serve, unless one must be alone; sets that both releases share are kept.
//   - A set is applied when those it depends on are ready, or are shared.
//   - Traffic moves only to ready sets, and all services move together: in steps of weights for those with a canary.
//   - A set is removed only after the traffic has left it.
//   - A set that must be alone (naru.Recreate) is never there together with another of its service: whichever is to
//     come, on any way, is applied when the one before it is gone. The start has two steps for this: first, all
//     that can become ready beside the old does; then, in the order of their dependencies, the services that are
//     recreated have their turn: traffic points to the new set, the old is removed, and when it is gone the new is
//     applied. What was recreated serves both releases until the rest of the traffic moves.
//   - A failure leaves the old in service: the rollout has failed as soon as that is persisted, and the plan of a failed
//     rollout puts the traffic back and removes the new.
//   - The plan of an ended rollout is the app's steady state: it heals what was lost and follows scales.
func Plan(s Situation) []Op {
	v := see(s)
	switch s.Rollout.State {
	case naru.RolloutPending:
		return []Op{Advance{State: naru.RolloutStarting}}
	case naru.RolloutStarting:
		return v.start()
	case naru.RolloutShifting:
		return v.shift()
	case naru.RolloutDraining:
		return v.drain()
	default:
		return v.converge(v.serving())
	}
}

// start makes the new sets, in the order of their dependencies, until all are ready: those that can stand beside the old
// first, then those that are recreated.
func (v view) start() []Op {
	if op, failed := v.failure(v.startDeadline); failed {
		return []Op{op}
	}
	ops := v.converge(v.both())
	switch {
	case len(ops) > 0 || !v.newAreReady():
		return ops
	case v.Rollout.Step < recreating && v.recreatesAny():
		return []Op{Advance{State: naru.RolloutStarting, Step: recreating}}
	default:
		return []Op{Advance{State: naru.RolloutShifting}}
	}
}

// shift gives the new sets their share, a step at a time; the last step gives them all.
func (v view) shift() []Op {
	end := v.since().Add(v.pause(v.Rollout.Step))
	if op, failed := v.failure(func(s naru.ReleasedService) time.Time { return end.Add(readyTimeout(s)) }); failed {
		return []Op{op}
	}
	ops := v.converge(v.both())
	switch {
	case len(ops) > 0 || !v.newAreReady() || v.Now.Before(end):
		return ops
	case v.Rollout.Step < v.steps():
		return []Op{Advance{State: naru.RolloutShifting, Step: v.Rollout.Step + 1}}
	default:
		return []Op{Advance{State: naru.RolloutDraining, Step: v.Rollout.Step}}
	}
}

// drain removes the old sets. The new have all traffic and nothing to go back to: they are the target's to keep alive.
func (v view) drain() []Op {
	ops := v.converge(v.serving())
	if len(ops) > 0 || slices.ContainsFunc(v.Observed.Sets, func(st target.SetStatus) bool { return !v.serving().has(st.Key) }) {
		return ops
	}
	return []Op{Advance{State: naru.RolloutDone, Step: v.Rollout.Step}}
}

// converge leads from what is observed to the wanted sets and the traffic of this moment. Sets come first, so that
// traffic finds them; removals last, so that traffic has left them.
func (v view) converge(want wanted) []Op {
	var ops []Op
	for _, set := range want {
		st, ok := v.Observed.Set(set.Key)
		if (!ok || st.Removing || st.Wanted != set.Instances) && v.mayApply(set) {
			ops = append(ops, ApplySet{set})
		}
	}
	now := v.Observed.Traffic
	// A set that this plan changes is judged by the next, which sees what the change did to it.
	if t := v.movable(v.traffic()); len(ops) == 0 && !t.Equal(now) {
		ops, now = append(ops, SetTraffic{t}), t
	}
	for _, st := range v.Observed.Sets {
		if !want.has(st.Key) && !st.Removing && !now.Weighs(st.Key) {
			ops = append(ops, RemoveSet{st.Key})
		}
	}
	return ops
}

// mayApply holds a set back while its place is taken, and a new one until those it depends on are ready.
func (v view) mayApply(set target.Set) bool {
	name := set.Service.Name
	if v.isKeptOut(name, set.Key) {
		return false
	}
	return v.Rollout.State != naru.RolloutStarting || !v.isNew(set.Key) || !v.waits(name)
}

// movable is what can move now of the traffic that should be: all, or only that of the services whose next set waits
// for just that: they must leave what serves, and need not wait for the others.
func (v view) movable(t target.Traffic) target.Traffic {
	if v.mayMove(t) {
		return t
	}
	some := target.Traffic{Services: map[naru.ServiceName][]target.Weight{}, Routes: v.Observed.Traffic.Routes}
	maps.Copy(some.Services, v.Observed.Traffic.Services)
	for name, next := range t.Services {
		if v.areKeptOut(name, next) {
			some.Services[name] = next
		}
	}
	return some
}

func (v view) areKeptOut(name naru.ServiceName, weights []target.Weight) bool {
	return slices.ContainsFunc(weights, func(w target.Weight) bool { return v.isKeptOut(name, w.Set) })
}

// mayMove keeps traffic where it is served. The new release gets it only while all its new sets are ready; and on any
// way, back as well as forward, no service leaves sets that serve for sets that do not: what must move then waits, and
// what has the traffic stays until it has gone.
func (v view) mayMove(t target.Traffic) bool {
	if v.Rollout.State == naru.RolloutShifting && !v.newAreReady() {
		return false
	}
	for name, next := range t.Services {
		now := v.Observed.Traffic.Services[name]
		if slices.ContainsFunc(now, v.serves) && !slices.ContainsFunc(next, v.serves) {
			return false
		}
	}
	return true
}

// serves reports whether a share of traffic would find somebody.
func (v view) serves(w target.Weight) bool {
	st, ok := v.Observed.Set(w.Set)
	return ok && !st.Removing && (st.Ready > 0 || st.Wanted == 0)
}

// failure is the advance to failed, when a new set cannot become ready or has not until its deadline.
func (v view) failure(deadline func(naru.ReleasedService) time.Time) (Advance, bool) {
	for _, s := range v.to.services() {
		key := v.to.key(s.Name)
		st, _ := v.Observed.Set(key)
		reason := ""
		switch {
		case !v.isNew(key):
		case st.Failure != "":
			reason = st.Failure
		case !v.isReady(key) && !v.isLater(s.Name) && !v.Now.Before(deadline(s)):
			reason = v.slowness(s, st)
		}
		if reason != "" {
			return v.fail(fmt.Sprintf("%s: %s", s.Name, reason), st.LogLines), true
		}
	}
	return Advance{}, false
}

func (v view) fail(reason string, lines []string) Advance {
	return Advance{State: naru.RolloutFailed, Step: v.Rollout.Step, Reason: reason, LogLines: lines}
}

// slowness says what a set that is not ready in time was waiting for.
func (v view) slowness(s naru.ReleasedService, st target.SetStatus) string {
	took := v.Now.Sub(v.since()).Round(time.Second)
	switch {
	case st.Key == "" && v.isKeptOut(s.Name, v.to.key(s.Name)):
		return fmt.Sprintf("not started in %s: the old instances have not stopped", took)
	case st.Key == "" && len(s.DependsOn) > 0:
		return fmt.Sprintf("not started in %s: it waited for %s", took, joinNames(s.DependsOn))
	case st.Key == "":
		return fmt.Sprintf("could not be started in %s: the daemon's log says why", took)
	}
	text := fmt.Sprintf("not ready in %s: %d of %d instances are", took, st.Ready, st.Wanted)
	for _, in := range st.Instances {
		if in.State != naru.InstanceReady && in.Reason != "" {
			return text + "; " + in.Reason
		}
	}
	return text
}

func joinNames(names []naru.ServiceName) string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = string(n)
	}
	return strings.Join(out, ", ")
}
