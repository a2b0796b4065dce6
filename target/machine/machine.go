// Package machine is the target that is this machine. It receives sets of instances and the traffic among them, owns
// the tables sets and traffic, runs each instance as a container of the engine, and hands on who is ready: as routes to
// the router, as names and published ports to the engine. An instance is a container that carries its set's labels;
// there is no other record of it.
//
// One loop does it all: look at what is, plan (plan.go, purely), act (act.go), publish (publish.go).
package machine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"naru/engine"
	"naru/engine/network"
	"naru/internal/hint"
	"naru/naru"
	"naru/store"
	"naru/target"
)

// Router is told who gets requests, and asked when those under way to an address have ended.
type Router interface {
	SetRoutes([]naru.Route)
	Drain(ctx context.Context, endpoints []netip.AddrPort) error
}

// Machine is a target.Target on this machine's engine.
type Machine struct {
	engine *engine.Engine
	store  *store.Store
	router Router
	log    *slog.Logger

	nudge   chan struct{}  // the loop should look again; holds at most one hint
	workers sync.WaitGroup // acts and probes under way

	publishing sync.Mutex // one publication at a time, so that an older picture never replaces a newer; before mu
	published  map[string][]network.Publication
	routed     []naru.Route

	mu   sync.Mutex // guards what follows; never held during an act
	apps map[naru.AppEnv]*app

	watchers hint.Watchers
}

// app is what is wanted for an AppEnv and what is known of it.
type app struct {
	sets    map[naru.SetKey]*set
	traffic target.Traffic
}

// set is a wanted set with its instances.
type set struct {
	target.Set
	Removing bool `json:"removing,omitempty"`

	asked     bool              // the image, for what the service leaves to it
	port      uint16            // where its instances listen; zero: nowhere
	health    *naru.HealthCheck // nil: there is none
	creating  int               // instances that are being made
	notBefore time.Time
	failures  int // creations that failed in a row
	failure   string
	everReady bool
	instances map[string]*instance
}

// instance is a container of a set.
type instance struct {
	id        string
	addr      netip.Addr
	addr6     netip.Addr // zero: it has none
	pid       int
	startedAt time.Time
	runsSince time.Time // the same by a clock that nobody sets: from when it was seen on
	createdAt time.Time

	state      naru.InstanceState
	reason     string
	restarts   int
	exits      int       // in a row, without being ready for long in between
	notBefore  time.Time // of the next start
	readySince time.Time
	failedAt   time.Time
	busy       bool               // an act on it is under way
	stopProbe  context.CancelFunc // nil: nobody probes it
}

// Config is what a Machine needs.
type Config struct {
	Engine *engine.Engine
	Store  *store.Store
	Router Router
	Log    *slog.Logger
}

// Open loads what is wanted, and publishes the instances that run already, so that a router that starts after it knows
// them. The engine must have adopted its containers before.
func Open(ctx context.Context, cfg Config) (*Machine, error) {
	m := &Machine{
		engine: cfg.Engine, store: cfg.Store, router: cfg.Router, log: cfg.Log,
		nudge:     make(chan struct{}, 1),
		published: map[string][]network.Publication{},
		apps:      map[naru.AppEnv]*app{},
	}
	if err := m.load(ctx); err != nil {
		return nil, fmt.Errorf("load what is wanted of this machine: %w", err)
	}
	if err := m.recall(ctx); err != nil {
		return nil, err
	}
	return m, m.publish(ctx)
}

// tickInterval bounds how long a lost hint can go unnoticed.
const tickInterval = 2 * time.Second

// Run makes what is so what is wanted, until ctx ends. Instances run on after it.
func (m *Machine) Run(ctx context.Context) error {
	defer m.workers.Wait()
	changed, stop := m.engine.Watch(labelApp)
	defer stop()
	for {
		wake, err := m.round(ctx)
		if err != nil && ctx.Err() == nil {
			m.log.Error("bring this machine to what is wanted", "err", err)
		}
		timer := time.NewTimer(wake)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-m.nudge:
		case <-changed:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// round looks, plans, begins the acts and publishes; it returns when to look again at the latest.
func (m *Machine) round(ctx context.Context) (time.Duration, error) {
	if err := m.look(ctx); err != nil {
		return tickInterval, err
	}
	wake := m.act(ctx, time.Now())
	err := m.publish(ctx)
	m.watchers.Notify()
	return wake, errors.Join(err, m.dropIdleNetworks(ctx))
}

// wakeLoop gives the loop a hint.
func (m *Machine) wakeLoop() {
	select {
	case m.nudge <- struct{}{}:
	default:
	}
}

// Watch implements target.Target.
func (m *Machine) Watch() (<-chan struct{}, func()) { return m.watchers.Watch() }

// appOf returns the app's state, made when it is new. The caller holds m.mu.
func (m *Machine) appOf(ae naru.AppEnv) *app {
	a, ok := m.apps[ae]
	if !ok {
		a = &app{sets: map[naru.SetKey]*set{}}
		m.apps[ae] = a
	}
	return a
}
