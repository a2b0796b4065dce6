package delivery

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"naru/naru"
	"naru/target"
)

var guestbook = naru.AppEnv{App: "guestbook", Environment: naru.Production}

// hops stands for all hops, and notes what it was asked.
type hops struct {
	mu    sync.Mutex
	asked []string

	buildErr  error
	serves    bool // a mint finds that the current release says the same
	end       naru.Rollout
	releases  []naru.Release
	observe   func() target.Observation
	unchanged bool
}

func (h *hops) note(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.asked = append(h.asked, fmt.Sprintf(format, args...))
}

func (h *hops) Build(_ context.Context, ae naru.AppEnv, s naru.ServiceSpec, session string, progress func(BuildProgress)) (naru.Digest, error) {
	h.note("build %s of %s through %s", s.Name, ae, session)
	progress(BuildProgress{Step: "1", State: StepDone})
	return "sha256:built", h.buildErr
}

func (h *hops) Resolve(_ context.Context, ref string) (naru.Digest, error) {
	h.note("resolve %s", ref)
	return naru.Digest("sha256:" + ref), nil
}

func (h *hops) Mint(_ context.Context, ae naru.AppEnv, services []naru.ReleasedService, reason string) (naru.Release, bool, error) {
	var s []string
	for _, svc := range services {
		s = append(s, string(svc.Name)+"="+string(svc.ImageDigest))
	}
	h.note("mint %s for %s", strings.Join(s, " "), reason)
	return naru.Release{AppEnv: ae, Number: 3, Services: services, Reason: reason}, !h.serves, nil
}

func (h *hops) ChangeConfig(_ context.Context, ae naru.AppEnv, _ map[string]string, _ []string) (naru.Release, bool, error) {
	if h.unchanged {
		return naru.Release{}, false, nil
	}
	return naru.Release{AppEnv: ae, Number: 4}, true, nil
}

func (h *hops) Rollback(_ context.Context, ae naru.AppEnv, to naru.ReleaseNumber) (naru.Release, bool, error) {
	h.note("roll back to %s", to)
	return naru.Release{AppEnv: ae, Number: 5}, true, nil
}

func (h *hops) Scale(_ context.Context, ae naru.AppEnv, _ map[naru.ServiceName]int) (naru.Release, bool, error) {
	return naru.Release{AppEnv: ae, Number: 5}, !h.unchanged, nil
}

func (h *hops) Down(context.Context, naru.AppEnv) error { return nil }

func (h *hops) List(context.Context, naru.AppEnv) ([]naru.Release, error) { return h.releases, nil }

func (h *hops) AppEnvs(context.Context) ([]naru.AppEnv, error) { return []naru.AppEnv{guestbook}, nil }

func (h *hops) Keep(_ context.Context, ae naru.AppEnv, releases []naru.Release) error {
	h.note("keep the images of %d releases of %s", len(releases), ae.App)
	return nil
}

func (h *hops) Follow(_ context.Context, _ naru.AppEnv, each func(naru.Rollout)) (naru.Rollout, error) {
	each(h.end)
	return h.end, nil
}

func (h *hops) RemoveVolumes(_ naru.AppEnv, volumes []naru.VolumeName) error {
	h.note("remove volumes %v", volumes)
	return nil
}

func (h *hops) Observe(context.Context, naru.AppEnv) (target.Observation, error) {
	return h.observe(), nil
}

func (h *hops) Watch() (<-chan struct{}, func()) { return nil, func() {} }

func (h *hops) delivery() *Delivery {
	return &Delivery{Builder: h, Images: h, Releases: h, Rollouts: h, Volumes: h, Target: h,
		URLs: func(naru.Release) []string { return []string{"http://guestbook.localhost"} }}
}

// tell writes events as people would say them.
func tell(into *[]string) func(Event) {
	return func(e Event) {
		switch {
		case e.Build != nil:
			*into = append(*into, fmt.Sprintf("step of %v %s", e.Build.Services, e.Build.State))
		case e.Image != nil:
			*into = append(*into, fmt.Sprintf("image of %s", e.Image.Service))
		case e.Release != nil:
			*into = append(*into, fmt.Sprintf("release %s", e.Release.Number))
		case e.Rollout != nil:
			*into = append(*into, "rollout "+string(e.Rollout.State))
		case e.Scaled != nil:
			*into = append(*into, fmt.Sprintf("%s %d/%d", e.Scaled.Service, e.Scaled.Ready, e.Scaled.Wanted))
		case e.Done != nil:
			*into = append(*into, fmt.Sprintf("done %+v", *e.Done))
		}
	}
}

func upOf(services ...naru.ServiceSpec) Up {
	return Up{AppEnv: guestbook, Spec: naru.AppSpec{App: "guestbook", Services: services}, Session: "s1", Reason: "up"}
}

func TestUpBuildsMintsAndFollows(t *testing.T) {
	build := &naru.BuildSpec{Kind: naru.BuildGo, Context: "."}
	h := &hops{end: naru.Rollout{From: 2, To: 3, State: naru.RolloutDone}}
	var said []string
	err := h.delivery().Up(t.Context(), upOf(naru.ServiceSpec{Name: "db", Image: "postgres"},
		naru.ServiceSpec{Name: "web", Build: build}, naru.ServiceSpec{Name: "worker", Build: build}), tell(&said))
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(h.asked) // images are made side by side
	want := []string{"build web of guestbook through s1", "keep the images of 0 releases of guestbook", "mint db=sha256:postgres web=sha256:built worker=sha256:built for up", "resolve postgres"}
	if diff := cmp.Diff(want, h.asked); diff != "" {
		t.Error(diff)
	}
	for _, line := range []string{"step of [web worker] done", "image of worker"} {
		if !slices.Contains(said, line) {
			t.Errorf("did not say %q: %v", line, said)
		}
	}
	if got := strings.Join(said[len(said)-3:], "; "); got != "release v3; rollout done; done {Change:release Release:v3 Unchanged:false Detached:false URLs:[http://guestbook.localhost]}" {
		t.Error(got)
	}
}

func TestUpWithNothingNewSaysSo(t *testing.T) {
	h := &hops{serves: true}
	var said []string
	if err := h.delivery().Up(t.Context(), upOf(naru.ServiceSpec{Name: "web", Image: "x"}), tell(&said)); err != nil {
		t.Fatal(err)
	}
	if last := said[len(said)-1]; !strings.Contains(last, "Unchanged:true") || slices.Contains(said, "rollout done") {
		t.Error(said)
	}
}

func TestUpDetachedDoesNotWait(t *testing.T) {
	h := &hops{end: naru.Rollout{State: naru.RolloutFailed}}
	up := upOf(naru.ServiceSpec{Name: "web", Image: "x"})
	up.Detach = true
	var said []string
	if err := h.delivery().Up(t.Context(), up, tell(&said)); err != nil || !strings.Contains(said[len(said)-1], "Detached:true") {
		t.Error(said, err)
	}
}

func TestUpRefusesWhatCannotBe(t *testing.T) {
	build := &naru.BuildSpec{Kind: naru.BuildGo}
	web := naru.ServiceSpec{Name: "web", Image: "x"}
	for want, up := range map[string]Up{
		"no services":    upOf(),
		"is there twice": upOf(web, web),
		"DNS label":      upOf(naru.ServiceSpec{Name: "Web", Image: "x"}),
		"either image":   upOf(naru.ServiceSpec{Name: "web"}),
		"or build":       upOf(naru.ServiceSpec{Name: "web", Image: "x", Build: build}),
		"negative":       upOf(naru.ServiceSpec{Name: "web", Image: "x", Scale: -1}),
		"is of app":      {AppEnv: naru.AppEnv{App: "other", Environment: naru.Production}, Spec: naru.AppSpec{App: "guestbook"}},
		"no session":     {AppEnv: guestbook, Spec: upOf(naru.ServiceSpec{Name: "web", Build: build}).Spec},
	} {
		h := &hops{}
		err := h.delivery().Up(t.Context(), up, func(Event) {})
		if naru.CodeOf(err) != naru.InvalidArgument || !strings.Contains(err.Error(), want) || h.asked != nil {
			t.Errorf("%s: %v, asked %v", want, err, h.asked)
		}
	}
}

func TestAFailedBuildMintsNothing(t *testing.T) {
	boom := naru.Errorf(naru.Failed, "go build ./web: exit status 1")
	h := &hops{buildErr: boom}
	err := h.delivery().Up(t.Context(), upOf(naru.ServiceSpec{Name: "web", Build: &naru.BuildSpec{}}), func(Event) {})
	if !errors.Is(err, boom) || len(h.asked) != 1 {
		t.Error(err, h.asked)
	}
}

func TestARolloutThatFailsIsTheCommandsFailure(t *testing.T) {
	for want, end := range map[string]naru.Rollout{
		"release v3 of guestbook failed and v2 keeps serving: exited with 1\nIts last output:\n  panic": {
			From: 2, To: 3, State: naru.RolloutFailed, Reason: "exited with 1", LogLines: []string{"panic"}},
		"release v3 of guestbook failed: exited with 1": {To: 3, State: naru.RolloutFailed, Reason: "exited with 1"},
		"release v3 of guestbook was overtaken by a newer change: v4": {
			From: 2, To: 3, State: naru.RolloutSuperseded, Reason: "v4"},
	} {
		h := &hops{end: end}
		if err := h.delivery().Rollback(t.Context(), guestbook, 1, false, func(Event) {}); err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
}

func TestDownRemovesTheVolumesOfAllReleases(t *testing.T) {
	volumes := func(v ...naru.VolumeMount) naru.Release {
		return naru.Release{Services: []naru.ReleasedService{{ServiceSpec: naru.ServiceSpec{Volumes: v}}}}
	}
	h := &hops{end: naru.Rollout{From: 2, State: naru.RolloutDone}, releases: []naru.Release{
		volumes(naru.VolumeMount{Volume: "data"}, naru.VolumeMount{HostPath: "/srv"}), volumes(naru.VolumeMount{Volume: "old"}, naru.VolumeMount{Volume: "data"})}}
	if err := h.delivery().Down(t.Context(), guestbook, true, false, func(Event) {}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"remove volumes [data old]"}, h.asked); diff != "" {
		t.Error(diff)
	}
	if err := h.delivery().Down(t.Context(), guestbook, true, true, func(Event) {}); naru.CodeOf(err) != naru.InvalidArgument {
		t.Error(err)
	}
}

func TestConfigOfAnAppThatIsDownWaits(t *testing.T) {
	h := &hops{unchanged: true}
	var said []string
	if err := h.delivery().ChangeConfig(t.Context(), guestbook, map[string]string{"A": "1"}, nil, false, tell(&said)); err != nil {
		t.Fatal(err)
	}
	if len(said) != 1 || !strings.Contains(said[0], "Change:config") {
		t.Error(said)
	}
}

// sets observes ready of total instances of web.
func sets(ready, total int, failure string) target.Observation {
	return target.Observation{Sets: []target.SetStatus{{Service: "web", Ready: ready, Failure: failure, Instances: make([]naru.Instance, total)}}}
}

func TestScaleWaitsForTheInstances(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		steps := []target.Observation{sets(1, 1, ""), sets(1, 3, ""), sets(3, 3, "")}
		h := &hops{observe: func() target.Observation { o := steps[0]; steps = steps[1:]; return o }}
		var said []string
		if err := h.delivery().Scale(t.Context(), guestbook, map[naru.ServiceName]int{"web": 3}, false, tell(&said)); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(said[:2], " "); got != "web 1/3 web 3/3" {
			t.Error(said)
		}
	})
}

func TestScaleEndsWithTheReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for want, o := range map[string]target.Observation{"exits with 1": sets(1, 2, "exits with 1"), "not ready after": sets(1, 2, "")} {
			h := &hops{observe: func() target.Observation { return o }}
			err := h.delivery().Scale(t.Context(), guestbook, map[naru.ServiceName]int{"web": 2}, false, func(Event) {})
			if naru.CodeOf(err) != naru.Failed || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v", want, err)
			}
		}
	})
}

func TestScaleWithNothingNewDoesNotWait(t *testing.T) {
	h := &hops{unchanged: true}
	var said []string
	err := h.delivery().Scale(t.Context(), guestbook, map[naru.ServiceName]int{"web": 1}, false, tell(&said))
	if err != nil || !strings.Contains(said[0], "Unchanged:true") {
		t.Error(said, err)
	}
}
