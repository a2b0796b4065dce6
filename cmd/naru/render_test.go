package main

import (
	"bytes"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"naru/api"
	"naru/delivery"
	"naru/naru"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// golden compares with testdata/name, or rewrites it.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got; -update accepts):\n%s", path, diff)
	}
}

var (
	now       = time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)
	guestbook = naru.AppEnv{App: "guestbook", Environment: naru.Production}
	staging   = naru.AppEnv{App: "guestbook", Environment: "staging"}
	digest    = naru.Digest("sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef")
)

func before(d time.Duration) time.Time { return now.Add(-d) }

func TestTables(t *testing.T) {
	for name, tab := range map[string]*table{
		"apps.txt": appsTable([]api.App{
			{AppEnv: guestbook, Release: 12, Rollout: naru.RolloutDone, Ready: 3, Wanted: 3, URLs: []string{"http://guestbook.localhost"}, Deployed: before(3 * time.Minute)},
			{AppEnv: staging, Release: 1, Rollout: naru.RolloutFailed, Wanted: 1, Deployed: before(50 * time.Hour)},
			{AppEnv: naru.AppEnv{App: "old", Environment: naru.Production}, Rollout: naru.RolloutDone, Deployed: before(time.Second)},
		}, now),
		"ps.txt": instancesTable([]naru.Instance{
			{ID: "4f1c09d2a7b3ffff", Service: "web", Release: 12, State: naru.InstanceReady, Addr: netip.MustParseAddr("10.87.0.2"), StartedAt: before(time.Hour)},
			{ID: "aa1c09d2a7b3ffff", Service: "worker", Release: 12, State: naru.InstanceBackoff, Restarts: 7, Reason: "exited with status 1\nsecond line"},
		}, now),
		"releases.txt": releasesTable([]naru.Release{
			{Number: 2, CreatedAt: before(time.Minute), Reason: "config set X", ConfigVersion: 1, Services: []naru.ReleasedService{
				{ServiceSpec: naru.ServiceSpec{Name: "web"}, ImageDigest: digest}}},
			{Number: 1, CreatedAt: before(time.Hour), Reason: "up"},
		}, now),
		"containers.txt": containersTable([]api.ContainerSummary{
			{ID: "4f1c09d2a7b3ffff", Name: "web", State: "running", Addr: netip.MustParseAddr("10.87.0.2"), CreatedAt: before(time.Hour), StartedAt: before(time.Minute),
				Image: "nginx", Published: []naru.PublishedPort{{HostPort: 8080, Port: 80, Protocol: "tcp"},
					{HostIP: netip.MustParseAddr("127.0.0.1"), HostPort: 53, Port: 53, Protocol: "udp"}}},
			{ID: "b", Name: "oom", State: "exited", ExitCode: 137, OOMKilled: true, Reason: "out of memory", FinishedAt: before(time.Minute), CreatedAt: before(time.Hour)},
			{ID: "c", Name: "ok", State: "exited", FinishedAt: before(time.Minute), CreatedAt: before(time.Hour)},
			{ID: "d", Name: "new", State: "created", CreatedAt: before(time.Second)},
			{ID: "e", Name: "ill", State: "running", Health: &api.Health{Status: "unhealthy"}, StartedAt: before(time.Minute), CreatedAt: before(time.Hour)},
		}, now, false),
		"images.txt": imagesTable([]api.Image{
			{Digest: digest, Names: []string{"busybox", "busybox:1.37"}, Size: 4_300_000, CreatedAt: before(24 * 30 * time.Hour)},
			{Digest: digest, Size: 12},
		}, now, false),
		"config.txt": configTable(naru.Config{Variables: map[string]string{"WORKERS": "4", "A": "two\nlines\x1b[31m"}}),
	} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			if err := tab.write(&b, false); err != nil {
				t.Fatal(err)
			}
			golden(t, name, b.Bytes())
		})
	}
}

func TestColourDoesNotMoveColumns(t *testing.T) {
	tab := instancesTable([]naru.Instance{{ID: "1", Service: "web", State: naru.InstanceReady}, {ID: "2", Service: "w", State: naru.InstanceUnready}}, now)
	var b bytes.Buffer
	if err := tab.write(&b, true); err != nil {
		t.Fatal(err)
	}
	golden(t, "ps-colour.txt", b.Bytes())
}

// story is a deploy as the daemon tells it.
func story() []delivery.Event {
	web := []naru.ServiceName{"web", "worker"}
	rollout := func(s naru.RolloutState, step int) delivery.Event {
		return delivery.Event{Rollout: &naru.Rollout{AppEnv: guestbook, From: 2, To: 3, State: s, Step: step}}
	}
	build := func(p delivery.BuildProgress) delivery.Event {
		p.Services = web
		return delivery.Event{Build: &p}
	}
	return []delivery.Event{
		build(delivery.BuildProgress{Step: "a", Name: "[1/3] FROM golang", State: delivery.StepCached}),
		build(delivery.BuildProgress{Step: "b", Name: "[2/3] RUN go build", State: delivery.StepStarted}),
		build(delivery.BuildProgress{Step: "b", Name: "[2/3] RUN go build", State: delivery.StepStarted}),
		build(delivery.BuildProgress{Step: "b", Output: []byte("one\ntw")}),
		build(delivery.BuildProgress{Step: "b", Output: []byte("o\n")}),
		build(delivery.BuildProgress{Step: "b", Output: []byte("50%\r100%")}),
		build(delivery.BuildProgress{Step: "b", Name: "[2/3] RUN go build", State: delivery.StepDone, Took: 1234 * time.Millisecond}),
		build(delivery.BuildProgress{Step: "b", Name: "[2/3] RUN go build", State: delivery.StepDone, Took: 1234 * time.Millisecond}),
		{Image: &delivery.ImageChosen{Service: "web", Digest: digest, Built: true}},
		{Release: &delivery.ReleaseMinted{Number: 3, Reason: "up", Rolling: true}},
		rollout(naru.RolloutPending, 0),
		rollout(naru.RolloutStarting, 0),
		rollout(naru.RolloutShifting, 0),
		rollout(naru.RolloutShifting, 1),
		rollout(naru.RolloutShifting, 1),
		rollout(naru.RolloutDraining, 0),
		rollout(naru.RolloutDone, 0),
		{Done: &delivery.Result{Release: 3, URLs: []string{"http://guestbook.localhost", "http://example.org/book"}}},
	}
}

func TestProgress(t *testing.T) {
	for name, width := range map[string]int{"up.txt": 0, "up-terminal.txt": 60} {
		var b bytes.Buffer
		p := newProgress(&b, guestbook, width > 0, width)
		p.now = func() time.Time { return now }
		for _, e := range story() {
			p.show(e)
			p.redraw()
		}
		golden(t, name, b.Bytes())
	}
}

func TestEndsOfAChange(t *testing.T) {
	var b bytes.Buffer
	for _, r := range []delivery.Result{
		{Change: delivery.ChangeRelease, Release: 3, Unchanged: true, URLs: []string{"http://guestbook.localhost"}},
		{Change: delivery.ChangeRelease, Release: 3, Detached: true},
		{Change: delivery.ChangeRelease, Release: 3},
		{Change: delivery.ChangeScale}, {Change: delivery.ChangeScale, Unchanged: true}, {Change: delivery.ChangeScale, Detached: true},
		{Change: delivery.ChangeDown}, {Change: delivery.ChangeDown, Detached: true}, {Change: delivery.ChangeConfig},
	} {
		b.WriteString(doneText(guestbook, r) + "\n")
	}
	golden(t, "done.txt", b.Bytes())
}

func TestLogLinesAreWhole(t *testing.T) {
	var b bytes.Buffer
	p := &logPrinter{w: &b, prefix: true}
	for _, e := range []api.LogEntry{
		{Service: "web", Instance: "4f1c09d2a7b3", Stream: "stdout", Data: []byte("hel")},
		{Service: "worker", Instance: "aa1c09d2a7b3", Stream: "stdout", Data: []byte("a\nb\nunfini")},
		{Service: "web", Instance: "4f1c09d2a7b3", Stream: "stderr", Data: []byte("oops\n")},
		{Service: "web", Instance: "4f1c09d2a7b3", Stream: "stdout", Data: []byte("lo\n\n")},
	} {
		if err := p.print(e); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.end(nil); err != nil {
		t.Fatal(err)
	}
	golden(t, "logs.txt", b.Bytes())
}

func TestLimitText(t *testing.T) {
	for want, l := range map[string]naru.DiskLimit{"-": {}, "1.5GiB": {Bytes: 3 << 29, Inodes: 9}, "9 files": {Inodes: 9}} {
		if got := limitText(l); got != want {
			t.Errorf("%+v is %q, want %q", l, got, want)
		}
	}
}
