package machine

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"naru/engine"
	"naru/engine/logs"
	"naru/naru"
	"naru/target"
)

// The labels that make a container an instance.
const (
	labelApp         = "naru.app"
	labelEnvironment = "naru.environment"
	labelSet         = "naru.set"
)

func compare[T cmp.Ordered](a, b T) int { return cmp.Compare(a, b) }

// recall takes in the containers of a daemon before this one. Those that run were ready when they got traffic, so they
// are taken for ready until a probe says otherwise: a restart of the daemon must not take them out of service.
func (m *Machine) recall(ctx context.Context) error {
	if err := m.look(ctx); err != nil {
		return fmt.Errorf("recall the instances: %w", err)
	}
	if err := m.removeStrays(ctx); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, a := range m.apps {
		for _, s := range a.sets {
			for _, i := range s.instances {
				if i.state == naru.InstanceRunning && a.traffic.Weighs(s.Key) {
					i.state, s.everReady = naru.InstanceReady, true
				}
			}
		}
	}
	return nil
}

// removeStrays removes the containers of jobs whose callers went with the daemon before this one, and of sets that are
// no more.
func (m *Machine) removeStrays(ctx context.Context) error {
	for _, c := range m.engine.Labelled(labelApp) {
		if m.isInstance(c) {
			continue
		}
		if err := m.engine.Remove(ctx, c.ID, true); err != nil {
			return fmt.Errorf("remove the stray container %s: %w", c.Name, err)
		}
	}
	return nil
}

func (m *Machine) isInstance(c engine.Container) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.setOf(c) != nil
}

// look brings the instances up to what the engine says of their containers.
func (m *Machine) look(ctx context.Context) error {
	containers := m.engine.Labelled(labelApp)
	if err := m.askImages(ctx); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	seen := map[string]bool{}
	for _, c := range containers {
		if s := m.setOf(c); s != nil {
			seen[c.ID] = true
			s.see(now, c)
		}
	}
	for _, a := range m.apps {
		for _, s := range a.sets {
			for id, i := range s.instances {
				if !seen[id] && !i.busy {
					i.endProbe()
					delete(s.instances, id)
				}
			}
		}
	}
	return nil
}

// setOf returns the set that a container is an instance of, or nil. The caller holds m.mu.
func (m *Machine) setOf(c engine.Container) *set {
	app, ok := c.Spec.Labels[labelApp]
	if !ok {
		return nil
	}
	ae := naru.AppEnv{App: naru.AppName(app), Environment: naru.EnvironmentName(c.Spec.Labels[labelEnvironment])}
	key := naru.SetKey(c.Spec.Labels[labelSet])
	if a, ok := m.apps[ae]; ok {
		return a.sets[key]
	}
	return nil
}

// see takes in what the engine says of one container.
func (s *set) see(now time.Time, c engine.Container) {
	i, ok := s.instances[c.ID]
	if !ok {
		i = &instance{id: c.ID, state: naru.InstanceStarting, createdAt: c.CreatedAt}
		s.instances[c.ID] = i
	}
	if i.state == naru.InstanceStopping {
		return
	}
	switch c.State {
	case engine.Running:
		if !c.StartedAt.Equal(i.startedAt) {
			i.startedAt, i.addr, i.addr6, i.pid = c.StartedAt, c.Addr, c.Addr6(), c.PID
			i.runsSince = now.Add(-c.Age())
			i.state, i.reason = naru.InstanceRunning, ""
		}
	case engine.Exited:
		if i.state != naru.InstanceBackoff && !i.busy {
			s.seeExit(now, i, c)
		}
	}
}

// seeExit notes a death, and when the next start may be.
func (s *set) seeExit(now time.Time, i *instance, c engine.Container) {
	i.endProbe()
	if i.state == naru.InstanceReady && now.Sub(i.readySince) > settled {
		i.exits = 0
	}
	i.exits++
	i.state, i.pid, i.failedAt = naru.InstanceBackoff, 0, now
	i.reason = exitReason(c)
	i.notBefore = now.Add(backoff(i.exits))
	hopeless := c.Error != "" && c.ExitCode != 0
	if !s.everReady && (i.exits >= deadlyExits || hopeless) {
		s.failure = fmt.Sprintf("service %s: %s", s.Service.Name, i.reason)
	}
}

func exitReason(c engine.Container) string {
	switch {
	case c.Error != "":
		return c.Error
	case c.OOMKilled:
		return "killed: it used more memory than its limit"
	case c.ExitCode > 128:
		return fmt.Sprintf("killed by signal %d", c.ExitCode-128)
	}
	return fmt.Sprintf("exited with status %d", c.ExitCode)
}

// askImages learns of new sets what their service leaves to the image: where the instances listen, and how they are asked
// whether they are well.
func (m *Machine) askImages(ctx context.Context) error {
	for _, s := range m.unasked() {
		port, check, err := m.askImage(ctx, s.Service)
		code := naru.CodeOf(err)
		if err != nil && code != naru.NotFound && code != naru.InvalidArgument {
			return fmt.Errorf("look what the image of %s says: %w", s.Key, err)
		}
		m.mu.Lock()
		s.port, s.health, s.asked = port, check, code != naru.NotFound
		if code == naru.InvalidArgument && !s.everReady {
			s.failure = fmt.Sprintf("service %s: its image: %v", s.Service.Name, err)
		}
		m.mu.Unlock()
	}
	return nil
}

// askImage returns what the service says, else what its image does.
func (m *Machine) askImage(ctx context.Context, svc naru.ReleasedService) (port uint16, check *naru.HealthCheck, err error) {
	port, check = svc.Port, svc.Health
	if port == 0 {
		if port, err = m.engine.ExposedPort(ctx, string(svc.ImageDigest)); err != nil {
			return port, check, err
		}
	}
	if check == nil && !svc.NoHealth {
		check, err = m.engine.ImageHealth(ctx, string(svc.ImageDigest))
	}
	return port, check, err
}

func (m *Machine) unasked() (out []*set) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, a := range m.apps {
		for _, s := range a.sets {
			if !s.asked {
				out = append(out, s)
			}
		}
	}
	return out
}

// lastLines returns the last lines that an instance printed.
func (m *Machine) lastLines(ctx context.Context, id string) ([]string, error) {
	var text strings.Builder
	for entry, err := range m.engine.Logs(ctx, id, logs.Options{Tail: target.LogTail}) {
		if naru.CodeOf(err) == naru.NotFound {
			return nil, nil // it went while we looked
		}
		if err != nil {
			return nil, fmt.Errorf("read the last lines of %s: %w", id, err)
		}
		text.Write(entry.Data)
	}
	lines := strings.Split(strings.TrimRight(text.String(), "\n"), "\n")
	if len(lines) == 1 && lines[0] == "" {
		return nil, nil
	}
	return lines[max(0, len(lines)-target.LogTail):], nil
}
