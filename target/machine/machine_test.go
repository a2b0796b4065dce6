package machine_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"naru/internal/enginetest"
	"naru/naru"
	"naru/target"
	"naru/target/machine"
	"naru/target/suite"
)

// router remembers the routes that it was given; nothing is ever in flight.
type router struct {
	mu     sync.Mutex
	routes []naru.Route
}

func (r *router) SetRoutes(routes []naru.Route) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.routes = routes
}

func (r *router) Drain(context.Context, []netip.AddrPort) error { return nil }

// daemon is a machine with its loop, which can be ended and opened again.
type daemon struct {
	*machine.Machine
	said  bytes.Buffer // its log; to be read once it is shut
	t     testing.TB
	rig   *enginetest.Rig
	end   context.CancelFunc
	ended chan error
}

func openDaemon(t testing.TB, rig *enginetest.Rig) *daemon {
	t.Helper()
	d := &daemon{t: t, rig: rig}
	d.open()
	t.Cleanup(d.shut)
	return d
}

func (d *daemon) open() {
	d.t.Helper()
	ctx, end := context.WithCancel(context.WithoutCancel(d.t.Context()))
	m, err := machine.Open(ctx, machine.Config{Engine: d.rig.Engine, Store: d.rig.Store, Router: &router{}, Log: slog.New(slog.NewTextHandler(io.MultiWriter(&d.said, d.t.Output()), nil))})
	if err != nil {
		d.t.Fatal(err)
	}
	d.Machine, d.end, d.ended = m, end, make(chan error, 1)
	go func() { d.ended <- m.Run(ctx) }()
}

func (d *daemon) shut() {
	d.end()
	if err := <-d.ended; err != nil {
		d.t.Error(err)
	}
}

// scripts are what the suite's kinds of instances run.
var scripts = map[suite.Kind]string{
	suite.Healthy: "trap 'exit 0' TERM; while :; do sleep 0.05; done",
	suite.Silent:  "trap 'exit 0' TERM; while :; do sleep 0.05; done",
	suite.Failing: "echo " + suite.FailingLine + "; exit 1",
}

func TestSuite(t *testing.T) {
	suite.Run(t, func(t testing.TB) suite.Harness {
		rig := enginetest.New(t)
		d := openDaemon(t, rig)
		img, err := rig.Images.Get(t.Context(), "busybox")
		if err != nil {
			t.Fatal(err)
		}
		return suite.Harness{
			Target: d.Machine,
			Service: func(name naru.ServiceName, kind suite.Kind) naru.ReleasedService {
				s := naru.ServiceSpec{Name: name, Command: []string{"/bin/sh", "-c", scripts[kind]}}
				if kind == suite.Silent {
					s.Port = 9 // nobody listens there
				}
				return naru.ReleasedService{ServiceSpec: s, ImageDigest: img.Digest}
			},
			Kill: func(t testing.TB, i naru.Instance) {
				if err := rig.Kill(t.Context(), string(i.ID), "KILL"); err != nil {
					t.Fatal(err)
				}
			},
			Crash: func(t testing.TB) target.Target {
				d.shut()
				rig.Shut()
				rig.Open()
				d.open()
				return d.Machine
			},
			Patience: 20 * time.Second,
		}
	})
}

func TestAnAppWhoseNetworkIsNotThereIsForgotten(t *testing.T) {
	rig := enginetest.New(t)
	d := openDaemon(t, rig)
	rounds, stop := d.Watch()
	defer stop()
	for range 3 { // the third hint comes when a round that saw the idle app has ended
		if err := d.Remove(t.Context(), naru.AppEnv{App: "shop", Environment: "production"}, "none"); err != nil {
			t.Fatal(err)
		}
		<-rounds
	}
	d.shut()
	defer d.open()
	if said := d.said.String(); strings.Contains(said, "level=ERROR") {
		t.Errorf("it said:\n%s", said)
	}
}

// TestASetIsScaledWhileItsInstancesAreMade is for the race detector: who makes an instance reads the set that Apply changes.
func TestASetIsScaledWhileItsInstancesAreMade(t *testing.T) {
	rig := enginetest.New(t)
	d := openDaemon(t, rig)
	img, err := rig.Images.Get(t.Context(), "busybox")
	if err != nil {
		t.Fatal(err)
	}
	ae := naru.AppEnv{App: "shop", Environment: "production"}
	want := target.Set{AppEnv: ae, Key: "k1", Release: 1, Service: naru.ReleasedService{ImageDigest: img.Digest,
		ServiceSpec: naru.ServiceSpec{Name: "web", Command: []string{"/bin/sh", "-c", scripts[suite.Healthy]}}}}
	changed, stop := d.Watch()
	defer stop()
	for _, want.Instances = range []int{1, 2, 3, 1} {
		if err := d.Apply(t.Context(), want); err != nil {
			t.Fatal(err)
		}
		<-changed // its making has begun
	}
	if err := d.Remove(t.Context(), ae, want.Key); err != nil {
		t.Fatal(err)
	}
	for {
		o, err := d.Observe(t.Context(), ae)
		if err != nil {
			t.Fatal(err)
		}
		if len(o.Sets) == 0 {
			break
		}
		<-changed
	}
}
