package rollout_test

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"naru/delivery/rollout"
	"naru/naru"
	"naru/store"
	"naru/target"
	"naru/target/memory"
)

// live runs a calm world's daemon and target as they run in earnest, in a bubble of time, until the test ends.
func live(t *testing.T, test func(*world)) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		w.calm = true
		w.daemon = rollout.New(rollout.Config{Store: w.store, Target: w.memory, Releases: w.ledger})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 2)
		go func() { ended <- w.memory.Run(ctx) }()
		go func() { ended <- w.daemon.Run(ctx) }()
		defer func() {
			cancel()
			for range 2 {
				if err := <-ended; err != nil {
					t.Error(err)
				}
			}
		}()
		test(w)
	})
}

func web(image string) naru.ReleasedService {
	s := naru.ReleasedService{ImageDigest: naru.Digest("sha256:" + image)}
	s.Name, s.Scale, s.Routes = "web", 1, []naru.RouteSpec{{Path: "/"}}
	return s
}

// up mints services and waits until the rollout has ended; it returns the lines that a waiting person reads.
func (w *world) up(services ...naru.ReleasedService) (naru.Rollout, []string) {
	w.t.Helper()
	w.mint(services)
	var lines []string
	r, err := w.daemon.Wait(w.t.Context(), w.last().ID, func(p rollout.Progress) { lines = append(lines, p.String()) })
	if err != nil {
		w.t.Fatal(err)
	}
	return r, lines
}

func TestRunRollsOutAndTells(t *testing.T) {
	live(t, func(w *world) {
		if r, lines := w.up(web("a")); r.State != naru.RolloutDone || lines[len(lines)-1] != "v1 serves" {
			w.t.Errorf("rollout %s, told %q", r.State, lines)
		}
		canary := web("b")
		canary.Rollout = naru.RolloutSpec{Strategy: naru.Canary, Steps: []naru.CanaryStep{{Weight: 10, Pause: time.Minute}}}
		began := time.Now()
		r, lines := w.up(canary)
		if took := time.Since(began); r.State != naru.RolloutDone || took < time.Minute || took > time.Minute+2*time.Second {
			w.t.Errorf("canary %s after %s: want done after its pause of a minute", r.State, took)
		}
		if !slices.Contains(lines, "v2 has 10 % of web for 1m0s (step 1 of 1)") {
			w.t.Errorf("told %q", lines)
		}
	})
}

func TestRunRecreates(t *testing.T) {
	live(t, func(w *world) {
		db := func(image string) naru.ReleasedService {
			s := web(image)
			s.Name, s.Routes, s.Rollout.Strategy = "db", nil, naru.Recreate
			w.alone[s.SetKey(0)] = true
			return s
		}
		w.up(web("a"), db("a"))
		r, lines := w.up(web("b"), db("b"))
		if r.State != naru.RolloutDone || !slices.Contains(lines, "starting v2: db waits for the old to stop") {
			w.t.Errorf("rollout %s, told %q", r.State, lines)
		}
		w.bad["sha256:c"] = memory.Behaviour{Failure: "cannot read the data"}
		if r, _ := w.up(web("b"), db("c")); r.State != naru.RolloutFailed || r.Reason != "db: cannot read the data" {
			w.t.Errorf("rollout %s: %s", r.State, r.Reason)
		}
		synctest.Wait()
		if o := w.observe(shop); len(o.Sets) != 2 || o.Sets[0].Release != 2 || !o.Sets[0].IsReady() || o.Traffic.Services["db"][0].Set != o.Sets[0].Key {
			w.t.Errorf("after the failure %+v: want v2's database again", o)
		}
	})
}

func TestRunFailsWithTheLastWords(t *testing.T) {
	live(t, func(w *world) {
		w.up(web("a"))
		w.bad["sha256:b"] = memory.Behaviour{Failure: "exits with status 1", LogLines: []string{"no database at postgres://u:hunter2@db"}}
		w.ledger.configs = []map[string]string{{"URL": "postgres://u:hunter2@db", "SHORT": "no"}}
		r := naru.Release{AppEnv: shop, Number: 2, Services: []naru.ReleasedService{web("b")}, ConfigVersion: 1}
		w.ledger.add(r)
		w.enqueue(2)
		var states []naru.RolloutState
		end, err := w.daemon.Follow(w.t.Context(), shop, func(r naru.Rollout) { states = append(states, r.State) })
		if err != nil || end.State != naru.RolloutFailed || end.Reason != "web: exits with status 1" || end.Goal() != 1 {
			w.t.Errorf("ended %+v, error %v", end, err)
		}
		if !slices.Equal(end.LogLines, []string{"no database at [URL]"}) {
			w.t.Errorf("last words %q: want them without the secret", end.LogLines)
		}
		if states[len(states)-1] != naru.RolloutFailed {
			w.t.Errorf("followed %v", states)
		}
		synctest.Wait()
		if o := w.observe(shop); len(o.Sets) != 1 || o.Sets[0].Release != 1 {
			w.t.Errorf("sets %+v: want those of v1", o.Sets)
		}
	})
}

func TestRunHealsAndScales(t *testing.T) {
	live(t, func(w *world) {
		w.up(web("a"))
		w.memory.Forget(shop)
		synctest.Wait()
		if o := w.observe(shop); len(o.Sets) != 1 || !o.Sets[0].IsReady() || len(o.Traffic.Routes) != 1 {
			w.t.Errorf("after the loss %+v", o)
		}
		w.ledger.scale("web", 3)
		if err := w.store.Update(w.t.Context(), func(*store.Tx) error { return nil }); err != nil { // as the release hop would
			w.t.Fatal(err)
		}
		if err := w.daemon.Settle(w.t.Context(), shop, func(string) {}); err != nil {
			w.t.Fatal(err)
		}
		if o := w.observe(shop); o.Sets[0].Ready != 3 {
			w.t.Errorf("after the scale %d instances", o.Sets[0].Ready)
		}
	})
}

func TestSettleDespairs(t *testing.T) {
	live(t, func(w *world) {
		w.up(web("a"))
		w.memory.Behave(shop, w.observe(shop).Sets[0].Key, memory.Behaviour{})
		synctest.Wait()
		var told []string
		err := w.daemon.Settle(w.t.Context(), shop, func(text string) { told = append(told, text) })
		if naru.CodeOf(err) != naru.Failed || !slices.Equal(told, []string{"web 0 of 1 ready"}) {
			w.t.Errorf("error %v, told %q", err, told)
		}
	})
}

func TestRefusalFails(t *testing.T) {
	w := newWorld(t, 1)
	w.calm = true
	w.mint([]naru.ReleasedService{web("a")})
	for range 5 {
		w.reconcile()
		w.memory.Step()
	}
	target := memory.New(memory.Options{Fault: func(c memory.Call) memory.Fault {
		if c.Method == "Apply" {
			return memory.Fault{Lost: naru.Errorf(naru.Conflict, "port 80 is held by nginx (pid 12)")}
		}
		return memory.Fault{}
	}})
	w.daemon = rollout.New(rollout.Config{Store: w.store, Target: target, Releases: w.ledger})
	w.mint([]naru.ReleasedService{web("b")})
	_ = w.daemon.Reconcile(t.Context()) // the way back meets the same nginx
	if r := w.last(); r.State != naru.RolloutFailed || !strings.Contains(r.Reason, "nginx") {
		t.Errorf("rollout %s: %s", r.State, r.Reason)
	}
}

func TestEnqueueMakesTheOpenOneGiveWay(t *testing.T) {
	for state, want := range map[naru.RolloutState]struct {
		state naru.RolloutState
		from  naru.ReleaseNumber
	}{
		naru.RolloutPending:  {naru.RolloutSuperseded, 1},
		naru.RolloutStarting: {naru.RolloutSuperseded, 1},
		naru.RolloutDraining: {naru.RolloutDone, 2},
		naru.RolloutDone:     {naru.RolloutDone, 2},
	} {
		t.Run(string(state), func(t *testing.T) {
			w := newWorld(t, 1)
			w.calm = true
			w.mint([]naru.ReleasedService{web("a")})
			w.until(naru.RolloutDone)
			w.mint([]naru.ReleasedService{web("b")})
			w.until(state)
			w.mint([]naru.ReleasedService{web("c")})
			if all := w.rollouts(); len(all) != 3 || all[1].State != want.state || all[2].From != want.from {
				t.Errorf("rollouts %+v: want v2's %s, v3's from %s", all, want.state, want.from)
			}
			w.until(naru.RolloutDone)
			if o := w.observe(shop); len(o.Sets) != 1 || o.Sets[0].Release != 3 {
				t.Errorf("sets %+v: want those of v3 alone", o.Sets)
			}
		})
	}
}

// rollouts are all that there were, in their order.
func (w *world) rollouts() (all []naru.Rollout) {
	w.t.Helper()
	err := w.store.View(w.t.Context(), func(tx *store.Tx) error {
		return tx.Query(`SELECT rollout_json FROM rollouts ORDER BY id`, nil, func(scan func(...any) error) error {
			var row string
			if err := scan(&row); err != nil {
				return err
			}
			all = append(all, naru.Rollout{})
			return json.Unmarshal([]byte(row), &all[len(all)-1])
		})
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return all
}

// until reconciles and steps until the newest rollout is in the state.
func (w *world) until(state naru.RolloutState) {
	for range 10 {
		if w.last().State == state {
			return
		}
		w.reconcile()
		if w.last().State != state {
			w.memory.Step()
		}
	}
	w.t.Fatalf("the rollout is %s, not %s", w.last().State, state)
}

func TestEnqueueRefusesWhatIsHeld(t *testing.T) {
	published := func(s naru.ReleasedService) naru.ReleasedService {
		s.Routes, s.Ports = nil, []naru.PublishedPort{{HostPort: 8080, Port: 80, Protocol: "tcp"}}
		return s
	}
	routed := func(s naru.ReleasedService) naru.ReleasedService {
		s.Routes = []naru.RouteSpec{{Host: "Shop.localhost"}}
		return s
	}
	named := func(s naru.ReleasedService, name naru.ServiceName) naru.ReleasedService {
		s.Name = name
		return s
	}
	for name, test := range map[string]struct {
		holder, asker []naru.ReleasedService
		words         []string
	}{
		"a route of another app":   {[]naru.ReleasedService{web("a")}, []naru.ReleasedService{routed(web("a"))}, []string{"shop.localhost/", "web of app shop"}},
		"a port of another app":    {[]naru.ReleasedService{published(web("a"))}, []naru.ReleasedService{published(web("a"))}, []string{"port 8080/tcp", "app shop"}},
		"a route of one's own":     {nil, []naru.ReleasedService{named(web("a"), "a"), named(web("a"), "b")}, []string{"other.localhost/", "services a and b"}},
		"a port of one's own":      {nil, []naru.ReleasedService{published(named(web("a"), "a")), published(named(web("a"), "b"))}, []string{"8080/tcp", "services a and b"}},
		"nothing that others have": {[]naru.ReleasedService{web("a")}, []naru.ReleasedService{web("a")}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 1)
			w.mint(test.holder)
			other := naru.AppEnv{App: "other", Environment: naru.Production}
			w.ledger.add(naru.Release{AppEnv: other, Number: 1, Services: test.asker})
			err := w.store.Update(t.Context(), func(tx *store.Tx) error {
				_, err := w.daemon.Enqueue(tx, naru.Rollout{AppEnv: other, To: 1})
				return err
			})
			if (err == nil) != (test.words == nil) || err != nil && naru.CodeOf(err) != naru.Conflict {
				t.Fatalf("error %v", err)
			}
			for _, words := range test.words {
				if !strings.Contains(err.Error(), words) {
					t.Errorf("error %q does not say %q", err, words)
				}
			}
		})
	}
}

func TestVariablesReachTheTargetAndNothingElse(t *testing.T) {
	w := newWorld(t, 1)
	w.calm = true
	var got target.Variables
	w.memory = memory.New(memory.Options{Behave: func(s target.Set) memory.Behaviour {
		got = s.Variables
		return memory.Behaviour{Ready: true}
	}})
	w.restart()
	s := web("a")
	s.Port, s.Environment = 8080, map[string]string{"A": "compose", "B": "compose"}
	w.ledger.configs = []map[string]string{{"B": "config"}, {"PORT": "9000"}}
	for version, want := range []target.Variables{
		{"A": "compose", "B": "compose", "PORT": "8080"},
		{"A": "compose", "B": "config", "PORT": "8080"},
		{"A": "compose", "B": "compose", "PORT": "9000"},
	} {
		r := naru.Release{AppEnv: shop, Number: naru.ReleaseNumber(version + 1), Services: []naru.ReleasedService{s}, ConfigVersion: version}
		w.ledger.add(r)
		w.enqueue(r.Number)
		w.until(naru.RolloutStarting)
		w.reconcile()
		if !maps.Equal(got, want) {
			t.Errorf("config %d: variables %#v", version, map[string]string(got))
		}
		w.until(naru.RolloutDone)
		set, err := w.daemon.Set(t.Context(), shop, "web")
		if err != nil || set.Release != r.Number || !maps.Equal(set.Variables, want) {
			t.Errorf("the set for a job: %s with %v, error %v", set, set.Variables, err)
		}
	}
	if _, err := w.daemon.Set(t.Context(), shop, "nobody"); naru.CodeOf(err) != naru.NotFound {
		t.Errorf("the set of an unknown service: error %v", err)
	}
}
