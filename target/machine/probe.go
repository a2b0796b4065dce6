package machine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"naru/naru"
)

// prober asks an instance once whether it is ready; nil means yes, an error says why not.
type prober func(ctx context.Context) error

// How an instance is asked, where its health check does not say.
const (
	eagerInterval  = 25 * time.Millisecond // until it is ready for the first time, growing to lazyInterval
	lazyInterval   = time.Second
	connectTimeout = time.Second
	// portless is how long an instance that listens nowhere must run to be ready.
	portless = time.Second
)

// probe asks the instance until ctx ends: eagerly until it is ready, then at its health check's pace. Without a health
// check an instance that was ready once stays so as long as it runs.
func (m *Machine) probe(ctx context.Context, s *set, i *instance) {
	check, ask := m.proberOf(s, i)
	wait, misses := eagerInterval, 0
	for {
		err := ask(ctx)
		if ctx.Err() != nil {
			return
		}
		ready := m.heard(s, i, check, err, &misses)
		if ready && check == nil {
			<-ctx.Done()
			return
		}
		wait = nextProbe(check, ready, wait)
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// nextProbe is how long to wait until the next question.
func nextProbe(check *naru.HealthCheck, ready bool, last time.Duration) time.Duration {
	slowest := lazyInterval
	if check != nil {
		slowest = check.Interval
	}
	if ready {
		return slowest
	}
	return min(2*last, slowest)
}

// heard takes in an answer, and reports whether the instance is ready after it.
func (m *Machine) heard(s *set, i *instance, check *naru.HealthCheck, answer error, misses *int) bool {
	m.mu.Lock()
	before := i.state
	now := time.Now()
	switch {
	case i.state == naru.InstanceStopping || i.state == naru.InstanceBackoff || i.state == naru.InstanceStarting:
		// It went while we asked; the loop ends this probe.
	case answer == nil:
		*misses = 0
		if i.state != naru.InstanceReady {
			i.state, i.reason, i.readySince = naru.InstanceReady, "", now
		}
		s.everReady, s.failure = true, ""
	default:
		*misses++
		i.reason = answer.Error()
		if i.state == naru.InstanceReady && check != nil && *misses >= max(check.Retries, 1) {
			i.state = naru.InstanceUnready
		}
		if i.state == naru.InstanceRunning && patienceEnded(check, now.Sub(i.runsSince)) {
			i.failedAt = now
			if !s.everReady {
				s.failure = fmt.Sprintf("service %s: its health check does not pass: %v", s.Service.Name, answer)
			}
		}
	}
	ready, changed := i.state == naru.InstanceReady, i.state != before
	m.mu.Unlock()
	if changed {
		m.wakeLoop()
	}
	return ready
}

// patienceEnded reports whether a health check has had its start period and all of its retries.
func patienceEnded(check *naru.HealthCheck, running time.Duration) bool {
	if check == nil {
		return false // slowness alone is no failure
	}
	return running > check.StartPeriod+time.Duration(max(check.Retries, 1))*(check.Interval+check.Timeout)
}

// proberOf chooses how an instance is asked; check is nil without a health check.
func (m *Machine) proberOf(s *set, i *instance) (check *naru.HealthCheck, ask prober) {
	m.mu.Lock()
	defer m.mu.Unlock()
	ep := s.endpoint(i)
	switch {
	case s.health != nil:
		return s.health, m.asker(i.id, *s.health, ep.Port())
	case ep.IsValid():
		return nil, m.asker(i.id, naru.HealthCheck{Timeout: connectTimeout}, ep.Port())
	}
	return nil, ageProber(i.runsSince)
}

// asker lets the engine ask.
func (m *Machine) asker(id string, check naru.HealthCheck, port uint16) prober {
	if len(check.Command) == 0 {
		check.Port = cmp.Or(check.Port, port)
	}
	return func(ctx context.Context) error { return m.engine.Ask(ctx, id, check).Err() }
}

func ageProber(since time.Time) prober {
	return func(context.Context) error {
		if time.Since(since) < portless {
			return errors.New("it has not run for long enough to be trusted")
		}
		return nil
	}
}
