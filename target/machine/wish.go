package machine

import (
	"context"
	"net/netip"
	"slices"

	"naru/naru"
	"naru/target"
)

// Apply implements target.Target.
func (m *Machine) Apply(ctx context.Context, want target.Set) error {
	if want.Instances < 0 {
		return naru.Errorf(naru.InvalidArgument, "service %s: %d instances cannot be had", want.Service.Name, want.Instances)
	}
	if err := m.checkPorts(want); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	defer m.wakeLoop()
	a := m.appOf(want.AppEnv)
	s, ok := a.sets[want.Key]
	if !ok {
		s = &set{Set: want, instances: map[string]*instance{}}
		if err := m.saveSet(ctx, s); err != nil {
			return err
		}
		a.sets[want.Key] = s
		return nil
	}
	next := *s
	next.Instances, next.Removing = want.Instances, false
	if next.Instances == s.Instances && !s.Removing {
		return nil
	}
	if err := m.saveSet(ctx, &next); err != nil {
		return err
	}
	s.Instances, s.Removing = next.Instances, false
	return nil
}

// checkPorts refuses ports of the host that another service, or somebody else, serves.
func (m *Machine) checkPorts(want target.Set) error {
	m.mu.Lock()
	for ae, a := range m.apps {
		for _, s := range a.sets {
			if ae == want.AppEnv && s.Service.Name == want.Service.Name {
				continue
			}
			for _, p := range want.Service.Ports {
				if slices.ContainsFunc(s.Service.Ports, p.Overlaps) {
					m.mu.Unlock()
					return naru.Errorf(naru.Conflict, "port %d/%s of the host is taken by service %s of %s", p.HostPort, p.Protocol, s.Service.Name, ae)
				}
			}
		}
	}
	m.mu.Unlock()
	return m.engine.CheckPorts(want.Service.Ports)
}

// Remove implements target.Target.
func (m *Machine) Remove(ctx context.Context, ae naru.AppEnv, key naru.SetKey) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	defer m.wakeLoop()
	s, ok := m.appOf(ae).sets[key]
	if !ok || s.Removing {
		return nil
	}
	next := *s
	next.Removing = true
	if err := m.saveSet(ctx, &next); err != nil {
		return err
	}
	s.Removing = true
	return nil
}

// SetTraffic implements target.Target.
func (m *Machine) SetTraffic(ctx context.Context, ae naru.AppEnv, t target.Traffic) error {
	m.mu.Lock()
	a := m.appOf(ae)
	if a.traffic.Equal(t) {
		m.mu.Unlock()
		return nil
	}
	if err := m.saveTraffic(ctx, ae, t); err != nil {
		m.mu.Unlock()
		return err
	}
	a.traffic = t
	m.mu.Unlock()
	// At once, rather than in the loop's next round: what the caller does next relies on the swap.
	defer m.wakeLoop()
	return m.publish(ctx)
}

// Observe implements target.Target.
func (m *Machine) Observe(ctx context.Context, ae naru.AppEnv) (target.Observation, error) {
	o, tails := m.observe(ae)
	for key, id := range tails {
		i := slices.IndexFunc(o.Sets, func(s target.SetStatus) bool { return s.Key == key })
		lines, err := m.lastLines(ctx, id)
		if err != nil {
			return target.Observation{}, err
		}
		o.Sets[i].LogLines = lines
	}
	return o, nil
}

// observe copies what memory knows, and names for each set in trouble the instance whose output explains it.
func (m *Machine) observe(ae naru.AppEnv) (target.Observation, map[naru.SetKey]string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var o target.Observation
	tails := map[naru.SetKey]string{}
	a, ok := m.apps[ae]
	if !ok {
		return o, tails
	}
	o.Traffic = a.traffic
	for _, s := range a.sets {
		st := s.status()
		o.Sets = append(o.Sets, st)
		if id := s.troubled(); id != "" && !st.IsReady() {
			tails[s.Key] = id
		}
	}
	slices.SortFunc(o.Sets, func(a, b target.SetStatus) int { return compare(a.Key, b.Key) })
	return o, tails
}

func (s *set) status() target.SetStatus {
	st := target.SetStatus{Key: s.Key, Service: s.Service.Name, Release: s.Release, Wanted: s.Instances, Removing: s.Removing, Failure: s.failure}
	if s.Removing {
		st.Wanted = 0
	}
	for _, i := range s.instances {
		st.Instances = append(st.Instances, naru.Instance{
			ID: naru.InstanceID(i.id), AppEnv: s.AppEnv, Service: s.Service.Name, Set: s.Key, Release: s.Release,
			State: i.state, Addr: i.addr, PID: i.pid, Restarts: i.restarts, Reason: i.reason, StartedAt: i.startedAt,
		})
		if i.state == naru.InstanceReady {
			st.Ready++
		}
	}
	slices.SortFunc(st.Instances, func(a, b naru.Instance) int { return compare(a.ID, b.ID) })
	return st
}

// troubled returns the instance that failed last, else one that is not ready.
func (s *set) troubled() string {
	var worst *instance
	for _, i := range s.instances {
		if i.state == naru.InstanceReady || i.state == naru.InstanceStopping {
			continue
		}
		if worst == nil || i.failedAt.After(worst.failedAt) {
			worst = i
		}
	}
	if worst == nil {
		return ""
	}
	return worst.id
}

// endpoint is where an instance answers; invalid when it listens nowhere.
func (s *set) endpoint(i *instance) netip.AddrPort {
	if s.port == 0 || !i.addr.IsValid() {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(i.addr, s.port)
}

var _ target.Target = (*Machine)(nil)
