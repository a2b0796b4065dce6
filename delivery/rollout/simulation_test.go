package rollout_test

import (
	"flag"
	"fmt"
	"slices"
	"testing"
	"time"

	"naru/naru"
	"naru/target"
	"naru/target/memory"
)

var seeds = flag.Int("seeds", 40, "how many simulated worlds")

// TestSimulation lets releases come at any moment, instances break and heal, target calls fail and the daemon die at
// random, and checks at every step that traffic is safe and that nobody has company who must be alone; when the world calms down, every rollout must end and exactly
// one complete release must be there. A world is its seed: -run 'TestSimulation/seed_7$' plays one again.
func TestSimulation(t *testing.T) {
	for seed := range *seeds {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			w := newWorld(t, uint64(seed))
			for range 250 {
				w.act()
				w.checkRoutes()
				w.checkAlone()
			}
			w.settle()
			w.checkEnd()
		})
	}
}

// act does one thing that may happen.
func (w *world) act() {
	switch n := w.rand.IntN(100); {
	case n < 40:
		w.reconcile()
	case n < 83:
		w.stepOne()
	case n < 89:
		w.now = w.now.Add(time.Duration(w.rand.IntN(15)) * time.Second)
	case n < 91:
		w.mint(w.randomServices())
	case n < 92 && w.rand.IntN(5) == 0:
		if w.last().ID != 0 {
			w.enqueue(0)
		}
	case n < 93:
		w.ledger.scale("web", 1+w.rand.IntN(3))
	case n < 97:
		w.trouble()
	default:
		w.restart()
	}
}

// stepOne moves one of the target's sets on.
func (w *world) stepOne() {
	if sets := w.observe(shop).Sets; len(sets) > 0 {
		w.memory.StepSet(shop, sets[w.rand.IntN(len(sets))].Key)
	}
}

// trouble kills an instance, or makes a set unready or ready again.
func (w *world) trouble() {
	sets := w.observe(shop).Sets
	if len(sets) == 0 {
		return
	}
	st := sets[w.rand.IntN(len(sets))]
	if len(st.Instances) > 0 && w.rand.IntN(2) == 0 {
		w.memory.Kill(shop, st.Instances[0].ID)
		return
	}
	w.memory.Behave(shop, st.Key, memory.Behaviour{Ready: w.rand.IntN(3) > 0})
	w.memory.StepSet(shop, st.Key)
}

// randomServices is a release of some of three services, with old or new images, of which some do not work.
func (w *world) randomServices() []naru.ReleasedService {
	var out []naru.ReleasedService
	for _, name := range []naru.ServiceName{"api", "db", "web"} {
		if name != "web" && w.rand.IntN(5) == 0 {
			continue
		}
		s := naru.ReleasedService{ImageDigest: naru.Digest(fmt.Sprintf("sha256:%d", w.rand.IntN(9)))}
		s.Name, s.Scale = name, 1+w.rand.IntN(2)
		switch s.ImageDigest {
		case "sha256:4":
			w.bad[s.ImageDigest] = memory.Behaviour{Failure: "exits with status 1", LogLines: []string{"no"}}
		case "sha256:5":
			w.bad[s.ImageDigest] = memory.Behaviour{}
		}
		if name == "web" {
			s.Routes = []naru.RouteSpec{{Path: "/"}}
		}
		if name != "db" && len(out) > 0 && w.rand.IntN(2) == 0 {
			s.DependsOn = []naru.ServiceName{out[0].Name}
		}
		if w.recreates(name, s.ImageDigest) {
			s.Rollout.Strategy = naru.Recreate
		} else if w.rand.IntN(4) > 0 {
			s.Rollout = naru.RolloutSpec{Strategy: naru.Canary, Steps: []naru.CanaryStep{{Weight: 10, Pause: 5 * time.Second}, {Weight: 50, Pause: 5 * time.Second}}}
		}
		out = append(out, s)
		if s.Rollout.Strategy == naru.Recreate {
			w.alone[s.SetKey(0)] = true
		}
	}
	return out
}

// recreates says which sets must be alone: of db most, of api some, of web none. It follows from the image, so that it
// is the set's own whatever releases share it.
func (w *world) recreates(name naru.ServiceName, image naru.Digest) bool {
	return name == "db" && image > "sha256:1" || name == "api" && image > "sha256:6"
}

// settle calms the world, heals what can be healed and lets time pass until nothing moves.
func (w *world) settle() {
	w.calm = true
	w.tell("calm")
	for _, st := range w.observe(shop).Sets {
		if r, err := w.ledger.Release(nil, shop, st.Release); err == nil {
			i := slices.IndexFunc(r.Services, func(s naru.ReleasedService) bool { return s.SetKey(0) == st.Key })
			w.memory.Behave(shop, st.Key, w.behave(target.Set{Service: r.Services[i]}))
		}
	}
	for range 100 {
		w.reconcile()
		w.memory.Step()
		w.now = w.now.Add(5 * time.Second)
		w.checkRoutes()
		w.checkAlone()
	}
}

// checkEnd holds that the newest rollout ended, and that its goal is all that is there and has all the traffic.
func (w *world) checkEnd() {
	last := w.last()
	if last.ID == 0 {
		return
	}
	if last.State != naru.RolloutDone && last.State != naru.RolloutFailed {
		w.t.Fatalf("%srollout %d is %s (step %d) for ever", w.story(), last.ID, last.State, last.Step)
	}
	o := w.observe(shop)
	var keys []naru.SetKey
	for _, st := range o.Sets {
		keys = append(keys, st.Key)
	}
	want := w.wantKeys(last.Goal())
	slices.Sort(want)
	if !slices.Equal(keys, want) {
		w.t.Fatalf("%ssets %v: want those of %s, %v", w.story(), keys, last.Goal(), want)
	}
	for _, weights := range o.Traffic.Services {
		for _, x := range weights {
			if x.Weight != 100 || x.Release != last.Goal() || !slices.Contains(want, x.Set) {
				w.t.Errorf("%straffic %+v: want all on %s", w.story(), x, last.Goal())
			}
		}
	}
	if len(o.Traffic.Services) != len(want) {
		w.t.Errorf("%straffic of %d services: want %d", w.story(), len(o.Traffic.Services), len(want))
	}
}

func (w *world) wantKeys(n naru.ReleaseNumber) (keys []naru.SetKey) {
	if n == 0 {
		return nil
	}
	r, err := w.ledger.Release(nil, shop, n)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, s := range r.Services {
		keys = append(keys, s.SetKey(0))
	}
	return keys
}
