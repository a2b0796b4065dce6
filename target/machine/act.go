package machine

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"naru/engine"
	"naru/naru"
)

// act plans every set and begins what the plans say, each act in a goroutine of its own that Run waits for. It returns
// how long the loop may sleep.
func (m *Machine) act(ctx context.Context, now time.Time) time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	wake := now.Add(tickInterval)
	for _, a := range m.apps {
		for _, s := range a.sets {
			ops, again := plan(now, s.view())
			for _, o := range ops {
				m.begin(ctx, a, s, o)
			}
			wake = earliest(wake, again)
		}
	}
	return max(time.Until(wake), 0)
}

// view is the set as plan sees it.
func (s *set) view() setView {
	v := setView{wanted: s.Instances, creating: s.creating, notBefore: s.notBefore, removing: s.Removing}
	for _, i := range s.instances {
		v.instances = append(v.instances, instanceView{id: i.id, state: i.state, container: i.container(), busy: i.busy,
			probed: i.stopProbe != nil, notBefore: i.notBefore, createdAt: i.createdAt})
	}
	return v
}

// container is the state of the instance's container, as last seen.
func (i *instance) container() engine.State {
	switch i.state {
	case naru.InstanceBackoff:
		return engine.Exited
	case naru.InstanceStarting:
		return engine.Created
	}
	return engine.Running
}

// begin starts one act. The caller holds m.mu.
func (m *Machine) begin(ctx context.Context, a *app, s *set, o op) {
	i := s.instances[o.id]
	switch o.kind {
	case opCreate:
		s.creating++
		m.work(func() { m.create(ctx, s) })
	case opStart:
		i.busy, i.state = true, naru.InstanceStarting
		m.work(func() { m.start(ctx, s, i) })
	case opProbe:
		probing, stop := context.WithCancel(ctx)
		i.stopProbe = stop
		m.work(func() { m.probe(probing, s, i) })
	case opStop:
		i.busy, i.state = true, naru.InstanceStopping
		i.endProbe()
		m.work(func() { m.stop(ctx, s, i) })
	case opForget:
		s.creating++ // nothing else may begin on it
		m.work(func() { m.forget(ctx, a, s) })
	}
}

// work runs an act beside the loop and wakes the loop at its end.
func (m *Machine) work(act func()) {
	m.workers.Go(func() {
		defer m.wakeLoop()
		act()
	})
}

func (i *instance) endProbe() {
	if i.stopProbe != nil {
		i.stopProbe()
		i.stopProbe = nil
	}
}

// create makes an instance's container; the loop's next round starts it.
func (m *Machine) create(ctx context.Context, s *set) {
	m.mu.Lock()
	spec := containerSpec(s.Set)
	m.mu.Unlock()
	spec.Name = instanceName(s)
	c, err := m.engine.Create(ctx, spec)
	m.mu.Lock()
	defer m.mu.Unlock()
	s.creating--
	if err != nil {
		if ctx.Err() != nil {
			return
		}
		s.failures++
		s.notBefore = time.Now().Add(backoff(s.failures + 1))
		s.failure = fmt.Sprintf("service %s: %v", s.Service.Name, err)
		return
	}
	s.failures = 0
	if s.instances[c.ID] == nil { // else the loop has seen it before we did, and may have begun to start it
		s.instances[c.ID] = &instance{id: c.ID, state: naru.InstanceStarting, createdAt: c.CreatedAt}
	}
}

// instanceName is what people see among containers, such as guestbook-web-3f9a2c.
func instanceName(s *set) string {
	var b [3]byte
	_, _ = rand.Read(b[:]) // never fails: see crypto/rand
	return s.Label() + "-" + string(s.Service.Name) + "-" + hex.EncodeToString(b[:])
}

func (m *Machine) start(ctx context.Context, s *set, i *instance) {
	err := m.engine.Start(ctx, i.id)
	m.mu.Lock()
	defer m.mu.Unlock()
	i.busy = false
	if !i.failedAt.IsZero() {
		i.restarts++
	}
	if err != nil {
		// The container is exited and says why; the next look takes that in.
		m.log.Warn("start an instance", "app", s.AppEnv, "set", s.Key, "instance", i.id[:12], "err", err)
	}
}

// stop takes an instance out of service and removes it. It left the routes when it became stopping; what is under way
// to it may end first.
func (m *Machine) stop(ctx context.Context, s *set, i *instance) {
	if err := m.drainAndRemove(ctx, s, i); err != nil && ctx.Err() == nil {
		m.log.Error("stop an instance", "app", s.AppEnv, "set", s.Key, "instance", i.id[:12], "err", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	i.busy = false // gone at the next look; or, after an error, stopped again
}

func (m *Machine) drainAndRemove(ctx context.Context, s *set, i *instance) error {
	if err := m.publish(ctx); err != nil {
		return fmt.Errorf("take it out of the routes: %w", err)
	}
	m.mu.Lock()
	ep := s.endpoint(i)
	m.mu.Unlock()
	if ep.IsValid() {
		draining, cancel := context.WithTimeout(ctx, grace(s))
		err := m.router.Drain(draining, []netip.AddrPort{ep})
		cancel()
		if err != nil && draining.Err() == nil {
			return fmt.Errorf("drain it: %w", err)
		}
	}
	if err := m.engine.Stop(ctx, i.id, grace(s)); err != nil && naru.CodeOf(err) != naru.NotFound {
		return err
	}
	if err := m.engine.Remove(ctx, i.id, true); err != nil && naru.CodeOf(err) != naru.NotFound {
		return err
	}
	return nil
}

func grace(s *set) time.Duration {
	if s.Service.StopGrace > 0 {
		return s.Service.StopGrace
	}
	return naru.DefaultStopGrace
}

// forget ends a removed set, unless it has been wanted again in the meantime.
func (m *Machine) forget(ctx context.Context, a *app, s *set) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s.creating--
	if !s.Removing {
		return
	}
	if err := m.forgetSet(ctx, s.AppEnv, s.Key); err != nil {
		m.log.Error("forget a set", "app", s.AppEnv, "set", s.Key, "err", err)
		return
	}
	delete(a.sets, s.Key)
}

// dropIdleNetworks removes the networks of apps that have no set any more, and then forgets the apps.
func (m *Machine) dropIdleNetworks(ctx context.Context) error {
	m.mu.Lock()
	var idle []naru.AppEnv
	for ae, a := range m.apps {
		if len(a.sets) == 0 && len(a.traffic.Services) == 0 {
			idle = append(idle, ae)
		}
	}
	m.mu.Unlock()
	for _, ae := range idle {
		err := m.engine.RemoveNetwork(ctx, networkName(ae))
		switch naru.CodeOf(err) {
		case naru.FailedPrecondition:
			continue // a job still runs on it
		case naru.NotFound: // nothing ever ran on it, or somebody removed it
			err = nil
		}
		if err != nil {
			return err
		}
		m.mu.Lock()
		if a := m.apps[ae]; a != nil && len(a.sets) == 0 {
			delete(m.apps, ae)
		}
		m.mu.Unlock()
	}
	return nil
}

func networkName(ae naru.AppEnv) string { return "app-" + ae.Label() }

// Volume is the engine's name for a volume of an app.
func Volume(ae naru.AppEnv, v naru.VolumeName) string { return ae.Label() + "_" + string(v) }

// environment turns variables into NAME=value, sorted.
func environment(vars map[string]string) []string {
	out := make([]string, 0, len(vars))
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		out = append(out, name+"="+vars[name])
	}
	return out
}
