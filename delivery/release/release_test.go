package release_test

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"naru/delivery/release"
	"naru/naru"
	"naru/store"
)

var shop = naru.AppEnv{App: "shop", Environment: naru.Production}

// rollouts is the hop that follows, in memory: the test decides how they end.
type rollouts struct {
	all    []naru.Rollout
	refuse error
}

func (r *rollouts) Enqueue(_ *store.Tx, ro naru.Rollout) (naru.RolloutID, error) {
	if r.refuse != nil {
		return 0, r.refuse
	}
	last, _ := r.Newest(nil, ro.AppEnv)
	if last.ID != 0 && !last.State.Ended() {
		r.end(naru.RolloutSuperseded)
		last = r.all[len(r.all)-1]
	}
	ro.ID, ro.From, ro.State = naru.RolloutID(len(r.all)+1), last.Goal(), naru.RolloutPending
	r.all = append(r.all, ro)
	return ro.ID, nil
}

func (r *rollouts) Newest(*store.Tx, naru.AppEnv) (naru.Rollout, error) {
	if len(r.all) == 0 {
		return naru.Rollout{}, nil
	}
	return r.all[len(r.all)-1], nil
}

func (r *rollouts) Served(*store.Tx, naru.AppEnv) (served []naru.ReleaseNumber, _ error) {
	for _, ro := range slices.Backward(r.all) {
		if ro.State == naru.RolloutDone {
			served = append(served, ro.To)
		}
	}
	return served, nil
}

func (r *rollouts) end(s naru.RolloutState) { r.all[len(r.all)-1].State = s }

type bench struct {
	*testing.T
	*release.Releases
	next *rollouts
}

func open(t *testing.T) bench {
	s, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "naru.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	next := &rollouts{}
	return bench{t, release.New(s, next), next}
}

func service(name naru.ServiceName, image string) naru.ReleasedService {
	return naru.ReleasedService{ServiceSpec: naru.ServiceSpec{Name: name, Scale: 1}, ImageDigest: naru.Digest("sha256:" + image)}
}

// mint mints one service of that image, and has the rollout end so, "" leaving it open.
func (b bench) mint(image string, end naru.RolloutState) (naru.Release, bool) {
	b.Helper()
	r, rolling, err := b.Mint(b.Context(), shop, []naru.ReleasedService{service("web", image)}, "up")
	if err != nil {
		b.Fatal(err)
	}
	if end != "" {
		b.next.end(end)
	}
	return r, rolling
}

// want checks what came of a request: the release's number and config version, and whether a rollout is under way.
func (b bench) want(r naru.Release, rolling bool, number naru.ReleaseNumber, config int, wantRolling bool) {
	b.Helper()
	if r.Number != number || r.ConfigVersion != config || rolling != wantRolling {
		b.Errorf("%s with config %d, rolling %t: want %s, %d, %t", r.Number, r.ConfigVersion, rolling, number, config, wantRolling)
	}
}

func (b bench) wantCode(err error, code naru.Code, words ...string) {
	b.Helper()
	if naru.CodeOf(err) != code {
		b.Errorf("error %v has code %q: want %q", err, naru.CodeOf(err), code)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			b.Errorf("error %q does not say %q", err, w)
		}
	}
}

func TestMintNumbersReleasesAndLeavesEqualOnesAlone(t *testing.T) {
	b := open(t)
	r, rolling := b.mint("a", "")
	b.want(r, rolling, 1, 0, true)
	r, rolling = b.mint("a", naru.RolloutDone) // the same while it is under way
	b.want(r, rolling, 1, 0, true)
	r, rolling = b.mint("a", "") // and when it is done
	b.want(r, rolling, 1, 0, false)
	r, rolling = b.mint("b", naru.RolloutDone)
	b.want(r, rolling, 2, 0, true)
	all, err := b.List(t.Context(), shop)
	if err != nil || len(all) != 2 || all[0].Number != 2 || len(b.next.all) != 2 {
		t.Errorf("releases %v, error %v, %d rollouts", all, err, len(b.next.all))
	}
}

func TestMintAfterAFailure(t *testing.T) {
	b := open(t)
	b.mint("a", naru.RolloutDone)
	b.mint("b", naru.RolloutFailed)
	r, rolling := b.mint("a", "") // what serves is what is wanted
	b.want(r, rolling, 1, 0, false)
	r, rolling = b.mint("b", naru.RolloutFailed) // another try
	b.want(r, rolling, 3, 0, true)
	if r, _, err := b.Scale(t.Context(), shop, nil); err != nil || r.Number != 1 {
		t.Errorf("current %s, error %v: want v1", r.Number, err)
	}
}

func TestMintIsOneTransactionWithItsRollout(t *testing.T) {
	b := open(t)
	b.next.refuse = naru.Errorf(naru.Conflict, "route held by app other")
	_, _, err := b.Mint(t.Context(), shop, []naru.ReleasedService{service("web", "a")}, "up")
	b.wantCode(err, naru.Conflict, "other")
	_, err = b.Get(t.Context(), shop, 1)
	b.wantCode(err, naru.NotFound, "v1")
	if all, err := b.AppEnvs(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("apps %v, error %v", all, err)
	}
}

func TestMintRefuses(t *testing.T) {
	needs := func(s naru.ReleasedService, names ...naru.ServiceName) naru.ReleasedService {
		s.DependsOn = names
		return s
	}
	a, c := service("a", "x"), service("c", "x")
	steps := a
	steps.Rollout.Steps = []naru.CanaryStep{{Weight: 100}}
	for name, test := range map[string]struct {
		ae       naru.AppEnv
		services []naru.ReleasedService
		words    string
	}{
		"an app name":         {naru.AppEnv{App: "No_Label", Environment: "production"}, []naru.ReleasedService{a}, "No_Label"},
		"no service":          {shop, nil, "no service"},
		"a service twice":     {shop, []naru.ReleasedService{a, a}, "twice"},
		"no image":            {shop, []naru.ReleasedService{{ServiceSpec: naru.ServiceSpec{Name: "a"}}}, "no image"},
		"an unknown need":     {shop, []naru.ReleasedService{needs(a, "b")}, "depends on b"},
		"a need of itself":    {shop, []naru.ReleasedService{needs(a, "a")}, "a → a"},
		"a circle":            {shop, []naru.ReleasedService{needs(a, "c"), needs(c, "a")}, "circle"},
		"a canary step of it": {shop, []naru.ReleasedService{steps}, "step 1"},
	} {
		t.Run(name, func(t *testing.T) {
			b := open(t)
			_, _, err := b.Mint(t.Context(), test.ae, test.services, "up")
			b.wantCode(err, naru.InvalidArgument, test.words)
		})
	}
}

func TestConfigMints(t *testing.T) {
	b := open(t)
	change := func(set map[string]string, unset ...string) (naru.Release, bool) {
		t.Helper()
		r, rolling, err := b.ChangeConfig(t.Context(), shop, set, unset)
		if err != nil {
			t.Fatal(err)
		}
		return r, rolling
	}
	r, rolling := change(map[string]string{"A": "1"}) // before the first release: it waits
	b.want(r, rolling, 0, 0, false)
	r, rolling = b.mint("a", naru.RolloutDone)
	b.want(r, rolling, 1, 1, true)
	r, rolling = change(map[string]string{"B": "2", "C": "3"}, "A")
	b.want(r, rolling, 2, 2, true)
	if r.Reason != "config set B, C; unset A" {
		t.Errorf("reason %q", r.Reason)
	}
	b.next.end(naru.RolloutDone)
	r, rolling = change(map[string]string{"B": "2"}) // as it is
	b.want(r, rolling, 2, 2, false)
	c, err := b.Config(t.Context(), shop)
	if err != nil || c.Version != 2 || !maps.Equal(c.Variables, map[string]string{"B": "2", "C": "3"}) {
		t.Errorf("config %+v, error %v", c, err)
	}
}

func TestConfigRefusesWithoutShowingValues(t *testing.T) {
	const secret = "hunter2hunter2"
	for name, test := range map[string]struct {
		set   map[string]string
		unset []string
		code  naru.Code
		words string
	}{
		"a name with a dash": {map[string]string{"A-B": secret}, nil, naru.InvalidArgument, `"A-B"`},
		"a digit first":      {map[string]string{"1A": secret}, nil, naru.InvalidArgument, `"1A"`},
		"a zero byte":        {map[string]string{"A": secret + "\x00"}, nil, naru.InvalidArgument, "zero byte"},
		"a long value":       {map[string]string{"A": strings.Repeat(secret, 10000)}, nil, naru.InvalidArgument, "140000 bytes"},
		"both":               {map[string]string{"A": secret}, []string{"A"}, naru.InvalidArgument, "both"},
		"nothing":            {nil, nil, naru.InvalidArgument, "at least one"},
		"unset of nothing":   {map[string]string{"A": secret}, []string{"B"}, naru.NotFound, `"B"`},
	} {
		t.Run(name, func(t *testing.T) {
			b := open(t)
			_, _, err := b.ChangeConfig(t.Context(), shop, test.set, test.unset)
			b.wantCode(err, test.code, test.words)
			if strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, err), secret) {
				t.Error("the error shows the value")
			}
			if c, err := b.Config(t.Context(), shop); err != nil || c.Version != 0 {
				t.Errorf("config version %d, error %v: want none written", c.Version, err)
			}
		})
	}
}

func TestRollback(t *testing.T) {
	b := open(t)
	back := func(to naru.ReleaseNumber) (naru.Release, bool) {
		t.Helper()
		r, rolling, err := b.Rollback(t.Context(), shop, to)
		if err != nil {
			t.Fatal(err)
		}
		b.next.end(naru.RolloutDone)
		return r, rolling
	}
	b.mint("a", naru.RolloutDone)
	_, _, err := b.Rollback(t.Context(), shop, 0)
	b.wantCode(err, naru.FailedPrecondition, "before v1")
	_, _, err = b.Rollback(t.Context(), shop, 9)
	b.wantCode(err, naru.NotFound, "v9")
	b.mint("b", naru.RolloutFailed)
	b.mint("c", naru.RolloutDone)
	r, rolling := back(0) // not to v2, which never served
	b.want(r, rolling, 4, 0, true)
	if r.Services[0].ImageDigest != "sha256:a" || r.Reason != "rollback to v1" {
		t.Errorf("release %+v: want the image of v1", r)
	}
	r, rolling = back(1) // it is so already
	b.want(r, rolling, 4, 0, false)
	r, rolling = back(3)
	b.want(r, rolling, 5, 0, true)
}

func TestRollbackBringsTheOldConfigBack(t *testing.T) {
	b := open(t)
	if _, _, err := b.ChangeConfig(t.Context(), shop, map[string]string{"A": "good"}, nil); err != nil {
		t.Fatal(err)
	}
	b.mint("a", naru.RolloutDone)
	if _, _, err := b.ChangeConfig(t.Context(), shop, map[string]string{"A": "bad"}, nil); err != nil {
		t.Fatal(err)
	}
	b.next.end(naru.RolloutDone)
	r, rolling, err := b.Rollback(t.Context(), shop, 0)
	if err != nil {
		t.Fatal(err)
	}
	b.want(r, rolling, 3, 3, true)
	b.next.end(naru.RolloutDone)
	c, err := b.Config(t.Context(), shop)
	if err != nil || c.Variables["A"] != "good" {
		t.Errorf("config %+v, error %v", c, err)
	}
	r, rolling = b.mint("b", "") // the next update does not bring it back
	b.want(r, rolling, 4, 3, true)
}

func TestDownKeepsEverything(t *testing.T) {
	b := open(t)
	b.wantCode(b.Down(t.Context(), shop), naru.NotFound, "shop")
	b.mint("a", naru.RolloutDone)
	for range 2 { // the second finds it on its way
		if err := b.Down(t.Context(), shop); err != nil {
			t.Fatal(err)
		}
	}
	if len(b.next.all) != 2 || b.next.all[1].To != 0 {
		t.Fatalf("rollouts %+v", b.next.all)
	}
	b.next.end(naru.RolloutDone)
	_, _, err := b.Scale(t.Context(), shop, nil)
	b.wantCode(err, naru.FailedPrecondition, "is down", "naru up")
	r, _, err := b.ChangeConfig(t.Context(), shop, map[string]string{"A": "1"}, nil) // starts nothing
	if err != nil || r.Number != 0 {
		t.Errorf("release %s, error %v", r.Number, err)
	}
	r, rolling := b.mint("a", "")
	b.want(r, rolling, 2, 1, true)
}

func TestDownAfterAFirstReleaseThatFailed(t *testing.T) {
	b := open(t)
	b.mint("a", naru.RolloutFailed)
	if err := b.Down(t.Context(), shop); err != nil || len(b.next.all) != 2 || b.next.all[1].To != 0 {
		t.Errorf("error %v, rollouts %+v: want one to nothing, which ends well", err, b.next.all)
	}
}

func TestScale(t *testing.T) {
	b := open(t)
	scale := func(n map[naru.ServiceName]int) (bool, error) {
		_, changed, err := b.Scale(t.Context(), shop, n)
		return changed, err
	}
	_, err := scale(map[naru.ServiceName]int{"web": 2})
	b.wantCode(err, naru.NotFound, "shop")
	b.mint("a", naru.RolloutDone)
	if changed, err := scale(map[naru.ServiceName]int{"web": 0}); err != nil || !changed {
		t.Errorf("changed %t, error %v", changed, err)
	}
	if changed, err := scale(map[naru.ServiceName]int{"web": 0}); err != nil || changed {
		t.Errorf("the same again: changed %t, error %v", changed, err)
	}
	_, err = scale(map[naru.ServiceName]int{"web": 5, "worker": 1})
	b.wantCode(err, naru.NotFound, "worker", "web")
	_, err = scale(map[naru.ServiceName]int{"web": -1})
	b.wantCode(err, naru.InvalidArgument, "-1")
	scales, err := b.Scales(t.Context(), shop)
	if err != nil || !maps.Equal(scales, map[naru.ServiceName]int{"web": 0}) {
		t.Errorf("scales %v, error %v: a refused change was kept", scales, err)
	}
}
