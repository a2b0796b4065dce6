package machine

import (
	"cmp"
	"slices"
	"time"

	"naru/engine"
	"naru/naru"
)

// op is one thing to do about a set.
type op struct {
	kind opKind
	id   string // of the instance; empty for create and forget
}

type opKind string

const (
	opCreate opKind = "create"
	opStart  opKind = "start"
	opProbe  opKind = "probe"
	opStop   opKind = "stop" // drain, stop and remove
	opForget opKind = "forget"
)

// setView is what a set's plan follows from.
type setView struct {
	wanted    int
	creating  int
	notBefore time.Time // of the next creation
	removing  bool
	instances []instanceView
}

// instanceView is what is known of an instance when its set is planned.
type instanceView struct {
	id        string
	state     naru.InstanceState
	container engine.State
	busy      bool
	probed    bool
	notBefore time.Time // of the next start
	createdAt time.Time
}

// plan says what to do next about a set, and when to plan again although nothing has happened; zero means never.
func plan(now time.Time, s setView) (ops []op, again time.Time) {
	wanted := s.wanted
	if s.removing {
		wanted = 0
	}
	keep, surplus := choose(s.instances, wanted)
	for _, i := range surplus {
		if !i.busy {
			ops = append(ops, op{opStop, i.id})
		}
	}
	for _, i := range keep {
		o, at := planInstance(now, i)
		if o.kind != "" {
			ops = append(ops, o)
		}
		again = earliest(again, at)
	}
	switch missing := wanted - len(keep) - s.creating; {
	case missing > 0 && now.Before(s.notBefore):
		again = earliest(again, s.notBefore)
	case missing > 0:
		for range missing {
			ops = append(ops, op{kind: opCreate})
		}
	}
	if s.removing && len(s.instances) == 0 && s.creating == 0 {
		ops = append(ops, op{kind: opForget})
	}
	return ops, again
}

// choose parts the instances that stay from those that are too many: those that stop already, then those that are not
// ready, then the youngest.
func choose(all []instanceView, wanted int) (keep, surplus []instanceView) {
	sorted := slices.Clone(all)
	slices.SortFunc(sorted, func(a, b instanceView) int {
		return cmp.Or(cmp.Compare(rank(a.state), rank(b.state)), a.createdAt.Compare(b.createdAt), cmp.Compare(a.id, b.id))
	})
	for _, i := range sorted {
		if i.state != naru.InstanceStopping && len(keep) < wanted {
			keep = append(keep, i)
			continue
		}
		surplus = append(surplus, i)
	}
	return keep, surplus
}

func rank(s naru.InstanceState) int {
	switch s {
	case naru.InstanceReady:
		return 0
	case naru.InstanceStopping:
		return 2
	}
	return 1
}

// planInstance says what to do about an instance that is to stay.
func planInstance(now time.Time, i instanceView) (op, time.Time) {
	switch {
	case i.busy:
		return op{}, time.Time{}
	case i.container == engine.Running && !i.probed:
		return op{opProbe, i.id}, time.Time{}
	case i.container == engine.Running:
		return op{}, time.Time{}
	case now.Before(i.notBefore):
		return op{}, i.notBefore
	}
	return op{opStart, i.id}, time.Time{}
}

func earliest(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}

// The first replacement of an instance that died comes at once; one that keeps dying waits longer each time.
const (
	firstBackoff = 200 * time.Millisecond
	maxBackoff   = 30 * time.Second
	// settled is how long an instance must be ready for its earlier deaths to be forgotten.
	settled = 10 * time.Second
)

// backoff is how long to wait before the next start, after so many deaths in a row.
func backoff(deaths int) time.Duration {
	if deaths < 2 {
		return 0
	}
	return min(firstBackoff<<min(deaths-2, 10), maxBackoff)
}

// deadlyExits is how many exits in a row, none of them after being ready, say that a set cannot become ready.
const deadlyExits = 3
