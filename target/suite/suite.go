// Package suite is the contract of package target as tests. It receives a Harness from an implementation's own test,
// runs every promise that can be seen from outside against it, and leaves nothing behind.
package suite

import (
	"context"
	"fmt"
	"testing"
	"time"

	"naru/naru"
	"naru/target"
)

// Kind is how the instances of a service of the harness fare.
type Kind string

// The kinds that a harness can make.
const (
	Healthy Kind = "healthy" // becomes ready
	Silent  Kind = "silent"  // runs, never becomes ready and is never said to have failed
	Failing Kind = "failing" // prints FailingLine and exits with an error, again and again
)

// FailingLine is what an instance of a Failing service prints before it exits.
const FailingLine = "cannot open the sea"

// Harness lets the suite drive a target.
type Harness struct {
	Target target.Target

	// Service makes a service of that name and kind. The same arguments give the same service.
	Service func(naru.ServiceName, Kind) naru.ReleasedService

	// Kill makes an instance die, from outside of the target.
	Kill func(testing.TB, naru.Instance)

	// Crash ends the target as kill -9 would and returns one opened on what is left.
	Crash func(testing.TB) target.Target

	// Patience is how long a change may take; 10 s when zero.
	Patience time.Duration
}

// Run runs the suite; open makes a new harness for each test, and cleans up through testing.TB.Cleanup.
func Run(t *testing.T, open func(testing.TB) Harness) {
	for _, c := range []struct {
		name string
		test func(*bench)
	}{
		{"UnknownAppEnvIsEmpty", unknownIsEmpty},
		{"AppliedSetBecomesReady", appliedBecomesReady},
		{"ApplyReadsItsOwnWrite", applyReadsItsOwnWrite},
		{"ApplyTwiceIsOnce", applyTwiceIsOnce},
		{"ApplyOfAKnownKeyOnlyScales", applyOnlyScales},
		{"ScaleUpAndDown", scaleUpAndDown},
		{"NoInstancesIsReady", noInstancesIsReady},
		{"NegativeInstancesAreRefused", negativeRefused},
		{"SilentSetIsNeitherReadyNorFailed", silentIsNeither},
		{"FailingSetTellsWhy", failingTellsWhy},
		{"RemovedSetGoes", removedGoes},
		{"RemoveOfAnUnknownSetIsNoError", removeUnknown},
		{"ApplyRevivesARemovedSet", applyRevives},
		{"TrafficIsObservedAsSet", trafficObserved},
		{"TrafficOfAnUnknownSetIsNoError", trafficUnknown},
		{"AppEnvsAreApart", envsAreApart},
		{"DeadInstanceIsReplaced", deadIsReplaced},
		{"WatchHints", watchHints},
		{"WishesOutliveACrash", wishesOutliveACrash},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t, open(t))
			defer b.clear()
			c.test(b)
		})
	}
}

// bench is one test's place: a harness, an app of its own, and ways to wait.
type bench struct {
	testing.TB
	Harness
	ae naru.AppEnv
}

func newBench(t *testing.T, h Harness) *bench {
	if h.Patience == 0 {
		h.Patience = 10 * time.Second
	}
	return &bench{t, h, naru.AppEnv{App: "suite", Environment: naru.Production}}
}

// clear removes what the test made and waits until it is gone, so that the implementation's fsck has the last word.
func (b *bench) clear() {
	b.check(b.Target.SetTraffic(b.Context(), b.ae, target.Traffic{}))
	for _, s := range b.observe().Sets {
		b.check(b.Target.Remove(b.Context(), b.ae, s.Key))
	}
	b.until("every set is gone", func(o target.Observation) bool { return len(o.Sets) == 0 })
}

func (b *bench) check(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// set makes a set of one instance; its release number is n.
func (b *bench) set(name naru.ServiceName, k Kind, n naru.ReleaseNumber) target.Set {
	s := b.Service(name, k)
	return target.Set{AppEnv: b.ae, Key: s.SetKey(0), Release: n, Service: s, Instances: 1}
}

func (b *bench) apply(s target.Set) {
	b.Helper()
	b.check(b.Target.Apply(b.Context(), s))
}

func (b *bench) observe() target.Observation {
	b.Helper()
	o, err := b.Target.Observe(b.Context(), b.ae)
	b.check(err)
	return o
}

// status is the set's, which must be there.
func (b *bench) status(s target.Set) target.SetStatus {
	b.Helper()
	st, ok := b.observe().Set(s.Key)
	if !ok {
		b.Fatalf("the set %s is not observed", s.Key)
	}
	return st
}

// until waits for an observation that holds, woken by the target's hints and, as the contract allows a hint to be
// missed by a moment, by a tick.
func (b *bench) until(what string, holds func(target.Observation) bool) target.Observation {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), b.Patience)
	defer cancel()
	hint, stop := b.Target.Watch()
	defer stop()
	tick := time.NewTicker(b.Patience / 50)
	defer tick.Stop()
	for {
		o := b.observe()
		if holds(o) {
			return o
		}
		select {
		case <-hint:
		case <-tick.C:
		case <-ctx.Done():
			b.Fatalf("not within %s: %s; observed %s", b.Patience, what, describe(o))
		}
	}
}

// untilSet waits for a status of the set that holds.
func (b *bench) untilSet(s target.Set, what string, holds func(target.SetStatus) bool) target.SetStatus {
	b.Helper()
	o := b.until(fmt.Sprintf("%s: %s", s.Key, what), func(o target.Observation) bool {
		st, ok := o.Set(s.Key)
		return ok && holds(st)
	})
	st, _ := o.Set(s.Key)
	return st
}

func (b *bench) untilReady(s target.Set) target.SetStatus {
	b.Helper()
	return b.untilSet(s, "ready", func(st target.SetStatus) bool {
		return st.IsReady() && len(st.Instances) == s.Instances
	})
}

func describe(o target.Observation) string {
	out := ""
	for _, s := range o.Sets {
		out += fmt.Sprintf("\n  %s: %d of %d ready, %d instances, removing %t, failure %q", s.Key, s.Ready, s.Wanted,
			len(s.Instances), s.Removing, s.Failure)
		for _, i := range s.Instances {
			out += fmt.Sprintf("\n    %s %s %s", i.ID, i.State, i.Reason)
		}
	}
	return out
}
