package suite

import (
	"slices"
	"strings"

	"naru/naru"
	"naru/target"
)

func unknownIsEmpty(b *bench) {
	if o := b.observe(); len(o.Sets) != 0 || !o.Traffic.Equal(target.Traffic{}) {
		b.Fatalf("observed %+v", o)
	}
}

func appliedBecomesReady(b *bench) {
	s := b.set("web", Healthy, 1)
	s.Instances = 2
	b.apply(s)
	st := b.untilReady(s)
	if st.Ready != 2 || st.Wanted != 2 || st.Service != "web" || st.Release != 1 || len(st.LogLines) != 0 {
		b.Errorf("status %+v", st)
	}
	for _, i := range st.Instances {
		if i.AppEnv != b.ae || i.Set != s.Key || i.Service != "web" || i.Release != 1 || i.State != naru.InstanceReady {
			b.Errorf("instance %+v", i)
		}
	}
}

func applyReadsItsOwnWrite(b *bench) {
	s := b.set("web", Silent, 1)
	b.apply(s)
	if st := b.status(s); st.Wanted != 1 || st.Removing || st.IsReady() {
		b.Errorf("status right after apply %+v", st)
	}
}

func applyTwiceIsOnce(b *bench) {
	s := b.set("web", Healthy, 1)
	b.apply(s)
	first := b.untilReady(s)
	b.apply(s)
	if again := b.untilReady(s); again.Instances[0].ID != first.Instances[0].ID {
		b.Errorf("instance %s was replaced by %s", first.Instances[0].ID, again.Instances[0].ID)
	}
}

func applyOnlyScales(b *bench) {
	s := b.set("web", Healthy, 1)
	b.apply(s)
	first := b.untilReady(s)
	s.Release, s.Instances = 2, 2
	b.apply(s)
	st := b.untilReady(s)
	kept := slices.ContainsFunc(st.Instances, func(i naru.Instance) bool { return i.ID == first.Instances[0].ID })
	if st.Release != 1 || !kept {
		b.Errorf("kept the first instance: %t, release %s; want the first instance and v1", kept, st.Release)
	}
}

func scaleUpAndDown(b *bench) {
	s := b.set("web", Healthy, 1)
	for _, n := range []int{1, 3, 1, 0, 2} {
		s.Instances = n
		b.apply(s)
		if st := b.untilReady(s); st.Wanted != n || st.Ready != n {
			b.Errorf("scaled to %d: %d of %d ready", n, st.Ready, st.Wanted)
		}
	}
}

func noInstancesIsReady(b *bench) {
	s := b.set("web", Failing, 1)
	s.Instances = 0
	b.apply(s)
	if st := b.status(s); !st.IsReady() || st.Wanted != 0 {
		b.Errorf("status %+v", st)
	}
}

func negativeRefused(b *bench) {
	s := b.set("web", Healthy, 1)
	s.Instances = -1
	if err := b.Target.Apply(b.Context(), s); naru.CodeOf(err) != naru.InvalidArgument {
		b.Errorf("error %v: want one of code %s", err, naru.InvalidArgument)
	}
	if _, ok := b.observe().Set(s.Key); ok {
		b.Error("a refused set was recorded")
	}
}

func silentIsNeither(b *bench) {
	s := b.set("web", Silent, 1)
	b.apply(s)
	st := b.untilSet(s, "running", func(st target.SetStatus) bool {
		return len(st.Instances) == 1 && st.Instances[0].State == naru.InstanceRunning
	})
	if st.Ready != 0 || st.Failure != "" || st.IsReady() {
		b.Errorf("status %+v", st)
	}
}

func failingTellsWhy(b *bench) {
	s := b.set("web", Failing, 1)
	b.apply(s)
	st := b.untilSet(s, "failed", func(st target.SetStatus) bool { return st.Failure != "" && len(st.LogLines) > 0 })
	told := slices.ContainsFunc(st.LogLines, func(l string) bool { return strings.Contains(l, FailingLine) })
	if st.IsReady() || !told || len(st.LogLines) > target.LogTail {
		b.Errorf("failure %q, lines %q: want %q among at most %d lines", st.Failure, st.LogLines, FailingLine, target.LogTail)
	}
}

func removedGoes(b *bench) {
	s, other := b.set("web", Healthy, 1), b.set("worker", Healthy, 1)
	b.apply(s)
	b.apply(other)
	b.untilReady(s)
	b.untilReady(other)
	b.check(b.Target.Remove(b.Context(), b.ae, s.Key))
	if st, ok := b.observe().Set(s.Key); ok && (!st.Removing || st.Wanted != 0) {
		b.Errorf("status right after remove %+v", st)
	}
	b.check(b.Target.Remove(b.Context(), b.ae, s.Key))
	b.until("gone", func(o target.Observation) bool { _, ok := o.Set(s.Key); return !ok })
	b.untilReady(other)
}

func removeUnknown(b *bench) {
	b.check(b.Target.Remove(b.Context(), b.ae, "web-000000000000"))
}

func applyRevives(b *bench) {
	s := b.set("web", Healthy, 1)
	b.apply(s)
	b.untilReady(s)
	b.check(b.Target.Remove(b.Context(), b.ae, s.Key))
	b.apply(s)
	if st := b.status(s); st.Removing || st.Wanted != 1 {
		b.Errorf("status right after revival %+v", st)
	}
	b.untilReady(s)
}

func trafficObserved(b *bench) {
	v1, v2 := b.set("web", Healthy, 1), b.set("web", Silent, 2)
	b.apply(v1)
	b.apply(v2)
	mixed := target.Traffic{
		Services: map[naru.ServiceName][]target.Weight{"web": {{Set: v1.Key, Release: 1, Weight: 90}, {Set: v2.Key, Release: 2, Weight: 10}}},
		Routes:   []target.RouteRule{{Host: "suite.localhost", Path: "/", Service: "web"}},
	}
	for _, tr := range []target.Traffic{mixed, mixed, {}, mixed} {
		b.check(b.Target.SetTraffic(b.Context(), b.ae, tr))
		if got := b.observe().Traffic; !got.Equal(tr) {
			b.Errorf("observed %+v, set %+v", got, tr)
		}
	}
}

func trafficUnknown(b *bench) {
	tr := target.Traffic{Services: map[naru.ServiceName][]target.Weight{"web": {{Set: "web-000000000000", Release: 1, Weight: 100}}}}
	b.check(b.Target.SetTraffic(b.Context(), b.ae, tr))
}

func envsAreApart(b *bench) {
	s := b.set("web", Healthy, 1)
	other := s
	other.AppEnv.Environment = "staging"
	b.apply(s)
	b.apply(other)
	b.untilReady(s)
	b.check(b.Target.Remove(b.Context(), other.AppEnv, other.Key))
	b.untilReady(s)
	o, err := b.Target.Observe(b.Context(), other.AppEnv)
	b.check(err)
	if st, ok := o.Set(other.Key); ok && !st.Removing {
		b.Errorf("status of the removed %+v", st)
	}
}

func deadIsReplaced(b *bench) {
	s := b.set("web", Healthy, 1)
	b.apply(s)
	first := b.untilReady(s).Instances[0]
	b.Kill(b, first)
	b.untilSet(s, "has a new life", func(st target.SetStatus) bool {
		return st.IsReady() && len(st.Instances) == 1 &&
			(st.Instances[0].ID != first.ID || st.Instances[0].Restarts > first.Restarts)
	})
	if st := b.status(s); st.Failure != "" {
		b.Errorf("a set that was ready is said to have failed: %s", st.Failure)
	}
}

func watchHints(b *bench) {
	hint, stop := b.Target.Watch()
	defer stop()
	s := b.set("web", Healthy, 1)
	b.apply(s)
	select {
	case <-hint:
	case <-b.Context().Done():
		b.Fatal("no hint after apply")
	}
	b.untilReady(s)
}

func wishesOutliveACrash(b *bench) {
	kept, gone := b.set("web", Healthy, 1), b.set("worker", Healthy, 1)
	tr := target.Traffic{Services: map[naru.ServiceName][]target.Weight{"web": {{Set: kept.Key, Release: 1, Weight: 100}}}}
	b.apply(gone)
	b.apply(kept)
	b.untilReady(gone)
	b.check(b.Target.SetTraffic(b.Context(), b.ae, tr))
	b.check(b.Target.Remove(b.Context(), b.ae, gone.Key))
	b.Target = b.Crash(b)
	if got := b.observe().Traffic; !got.Equal(tr) {
		b.Errorf("traffic after the crash %+v, before %+v", got, tr)
	}
	b.untilReady(kept)
	b.until("the removed set is gone", func(o target.Observation) bool { _, ok := o.Set(gone.Key); return !ok })
}
