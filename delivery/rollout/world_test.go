package rollout_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"naru/delivery/rollout"
	"naru/naru"
	"naru/store"
	"naru/target"
	"naru/target/memory"
)

// ledger is the release hop, in memory: what it holds survives every crash, as its tables would.
type ledger struct {
	mu       sync.Mutex
	releases []naru.Release // number 1 first
	configs  []map[string]string
	scales   map[naru.ServiceName]int
}

func (l *ledger) add(r naru.Release) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.releases = append(l.releases, r)
}

func (l *ledger) scale(service naru.ServiceName, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.scales[service] = n
}

func (l *ledger) Release(_ *store.Tx, ae naru.AppEnv, n naru.ReleaseNumber) (naru.Release, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.releases {
		if r.AppEnv == ae && r.Number == n {
			return r, nil
		}
	}
	return naru.Release{}, naru.Errorf(naru.NotFound, "no release %s of %s", n, ae)
}

func (l *ledger) Config(_ *store.Tx, _ naru.AppEnv, version int) (naru.Config, error) {
	if version == 0 {
		return naru.Config{}, nil
	}
	return naru.Config{Version: version, Variables: l.configs[version-1]}, nil
}

func (l *ledger) Scales(*store.Tx, naru.AppEnv) (map[naru.ServiceName]int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.scales), nil
}

// errCrash is what the chaotic target panics with: the daemon dies there.
var errCrash = errors.New("crash")

// chaos is a target whose calls fail, are refused, or kill the daemon before or after they take effect; it sees every
// call and checks what must hold at each.
type chaos struct {
	*memory.Target
	w *world
}

func (c chaos) Apply(ctx context.Context, s target.Set) error {
	return c.w.strike(func() error {
		if st, ok := c.w.observe(s.AppEnv).Set(s.Key); ok && c.w.alone[s.Key] && len(st.Instances) > st.Wanted {
			c.w.t.Errorf("%sapplied %s while instances of it stop", c.w.story(), s.Key)
		}
		return c.Target.Apply(ctx, s)
	})
}

func (c chaos) Remove(ctx context.Context, ae naru.AppEnv, key naru.SetKey) error {
	return c.w.strike(func() error {
		if c.w.observe(ae).Traffic.Weighs(key) {
			c.w.t.Errorf("%sremoved %s while it has traffic", c.w.story(), key)
		}
		return c.Target.Remove(ctx, ae, key)
	})
}

func (c chaos) SetTraffic(ctx context.Context, ae naru.AppEnv, t target.Traffic) error {
	return c.w.strike(func() error {
		c.w.checkMove(c.w.observe(ae), t)
		return c.Target.SetTraffic(ctx, ae, t)
	})
}

func (c chaos) Observe(ctx context.Context, ae naru.AppEnv) (target.Observation, error) {
	switch {
	case c.w.chance(4): // between an advance and what follows from it
		panic(errCrash)
	case c.w.chance(1):
		return target.Observation{}, errors.New("cannot observe")
	}
	return c.Target.Observe(ctx, ae)
}

// world is one app, the store, a target in memory, a clock, and a daemon that dies now and then.
type world struct {
	t      testing.TB
	rand   *rand.Rand
	calm   bool // no faults any more
	now    time.Time
	store  *store.Store
	ledger *ledger
	memory *memory.Target
	daemon *rollout.Rollouts
	bad    map[naru.Digest]memory.Behaviour
	alone  map[naru.SetKey]bool // never together with another set of the service
	told   []string
}

func newWorld(t testing.TB, seed uint64) *world {
	s, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "naru.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	w := &world{t: t, rand: rand.New(rand.NewPCG(seed, 1)), now: epoch, store: s, bad: map[naru.Digest]memory.Behaviour{}, alone: map[naru.SetKey]bool{},
		ledger: &ledger{scales: map[naru.ServiceName]int{}}}
	w.memory = memory.New(memory.Options{Behave: w.behave})
	w.restart()
	return w
}

// restart is the daemon's beginning, with nothing remembered but the store and the target.
func (w *world) restart() {
	w.daemon = rollout.New(rollout.Config{Store: w.store, Target: chaos{w.memory, w}, Releases: w.ledger,
		Now: func() time.Time { return w.now }})
}

func (w *world) behave(s target.Set) memory.Behaviour {
	if b, ok := w.bad[s.Service.ImageDigest]; ok {
		return b
	}
	return memory.Behaviour{Ready: true}
}

// chance is true in so many of a hundred cases, while the world is not calm.
func (w *world) chance(percent int) bool { return !w.calm && w.rand.IntN(100) < percent }

// strike does a call, unless fate has it fail, refuses it or kills the daemon.
func (w *world) strike(do func() error) error {
	switch {
	case w.chance(3):
		panic(errCrash)
	case w.chance(3):
		return errors.New("not now")
	case w.chance(1):
		return naru.Errorf(naru.Conflict, "port 80 is held by nginx")
	}
	err := do()
	switch {
	case w.chance(3):
		panic(errCrash)
	case w.chance(3):
		return errors.New("lost the answer")
	}
	return err
}

func (w *world) tell(format string, args ...any) {
	w.told = append(w.told, fmt.Sprintf(format, args...))
}

func (w *world) story() string {
	out := ""
	for _, line := range w.told {
		out += line + "\n"
	}
	return out
}

func (w *world) observe(ae naru.AppEnv) target.Observation {
	o, err := w.memory.Observe(w.t.Context(), ae)
	if err != nil {
		w.t.Fatal(err)
	}
	return o
}

// checkAlone holds that a set that must be alone is.
func (w *world) checkAlone() {
	sets := w.observe(shop).Sets
	for i, a := range sets {
		for _, b := range sets[:i] {
			if a.Service == b.Service && (w.alone[a.Key] || w.alone[b.Key]) {
				w.t.Fatalf("%s%s and %s are there at the same time", w.story(), a.Key, b.Key)
			}
		}
	}
}

// isKeptOut reports whether a set waits for another, or for its own instances, to go.
func (w *world) isKeptOut(o target.Observation, name naru.ServiceName, key naru.SetKey) bool {
	return slices.ContainsFunc(o.Sets, func(st target.SetStatus) bool {
		if st.Key == key {
			return w.alone[key] && st.Removing
		}
		return st.Service == name && (w.alone[key] || w.alone[st.Key])
	})
}

// checkMove holds that no service's traffic goes from sets that serve to none that does, unless that waits for it.
func (w *world) checkMove(now target.Observation, next target.Traffic) {
	serves := func(x target.Weight) bool {
		st, ok := now.Set(x.Set)
		return ok && !st.Removing && (st.Ready > 0 || st.Wanted == 0)
	}
	for name, weights := range next.Services {
		if slices.ContainsFunc(now.Traffic.Services[name], serves) && !slices.ContainsFunc(weights, serves) &&
			!w.isKeptOut(now, name, weights[0].Set) {
			w.t.Errorf("%straffic of %s leaves sets that serve for sets that do not: %s", w.story(), name, printTraffic(next))
		}
	}
}

// checkRoutes holds that every route leads to a service that has traffic, whenever anybody looks.
func (w *world) checkRoutes() {
	o := w.observe(shop)
	for _, r := range o.Traffic.Routes {
		if len(o.Traffic.Services[r.Service]) == 0 {
			w.t.Errorf("%sroute to %s leads nowhere", w.story(), r.Service)
		}
	}
	for name, weights := range o.Traffic.Services {
		for _, x := range weights {
			if st, ok := o.Set(x.Set); (!ok || st.Removing) && !w.mayBeMissing(name) {
				w.t.Errorf("%straffic to %s, which is gone or going", w.story(), x.Set)
			}
		}
	}
}

// mayBeMissing reports whether the service may be without any set: it has had one that must be alone.
func (w *world) mayBeMissing(name naru.ServiceName) bool {
	return slices.ContainsFunc(w.ledger.releases, func(r naru.Release) bool {
		return slices.ContainsFunc(r.Services, func(s naru.ReleasedService) bool { return s.Name == name && w.alone[s.SetKey(0)] })
	})
}

// reconcile lets the daemon work; when it dies of it, another is started.
func (w *world) reconcile() {
	defer func() {
		if died := recover(); died == errCrash {
			w.tell("crash")
			w.restart()
			for w.chance(50) { // what the daemon did not see
				w.trouble()
			}
		} else if died != nil {
			panic(died)
		}
	}()
	if err := w.daemon.Reconcile(w.t.Context()); err != nil {
		w.tell("reconcile: %v", err)
	}
}

// mint writes a release and enqueues its rollout.
func (w *world) mint(services []naru.ReleasedService) {
	r := naru.Release{AppEnv: shop, Number: naru.ReleaseNumber(len(w.ledger.releases) + 1), Services: services}
	w.ledger.add(r)
	w.enqueue(r.Number)
}

func (w *world) enqueue(to naru.ReleaseNumber) {
	err := w.store.Update(w.t.Context(), func(tx *store.Tx) error {
		_, err := w.daemon.Enqueue(tx, naru.Rollout{AppEnv: shop, To: to})
		return err
	})
	if err != nil {
		w.t.Fatalf("%senqueue %s: %v", w.story(), to, err)
	}
	w.tell("rollout to %s", to)
}

// last is the newest rollout.
func (w *world) last() naru.Rollout {
	r, err := w.daemon.Last(w.t.Context(), shop)
	if err != nil && naru.CodeOf(err) != naru.NotFound {
		w.t.Fatal(err)
	}
	return r
}
