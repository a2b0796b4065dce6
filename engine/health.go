package engine

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"naru/engine/image"
	"naru/naru"
)

// HealthStatus is how a container that has a health check is, as far as its answers tell.
//
//	starting ─► healthy ◄─► unhealthy
//	    │                       ▲
//	    └───────────────────────┘
//
// It changes in Health.hear alone, and begins anew with each start of the container.
type HealthStatus string

// The statuses, named as docker's.
const (
	HealthStarting HealthStatus = "starting"
	Healthy        HealthStatus = "healthy"
	Unhealthy      HealthStatus = "unhealthy"
)

// Health is what a container has answered to its health check since its start. A change of Status is written down, the
// answers in between are not.
type Health struct {
	Status  HealthStatus   `json:"status"`
	Failing int            `json:"failing_streak"` // failures in a row that count
	Answers []HealthAnswer `json:"log,omitempty"`  // the last few, the oldest first
}

// keptAnswers is how many answers are there for who asks why a container is not well.
const keptAnswers = 5

// How a container is asked where neither its spec nor its image says: as docker does it.
const (
	defaultHealthInterval      = 30 * time.Second
	defaultHealthTimeout       = 30 * time.Second
	defaultHealthStartInterval = 5 * time.Second
	defaultHealthRetries       = 3
)

// healthCheck is how a container of the spec and the image is asked: what the spec leaves out the image says, or
// docker's defaults; nil when nothing is to be asked.
func healthCheck(spec ContainerSpec, img image.Image) (*naru.HealthCheck, error) {
	var said, inherited naru.HealthCheck
	if img.Health != nil {
		inherited = *img.Health
	}
	switch {
	case spec.NoHealth && spec.Health != nil:
		return nil, naru.Errorf(naru.InvalidArgument, "a health check is described and refused: leave out one of the two")
	case spec.Health != nil:
		said = *spec.Health
	case spec.NoHealth || img.Health == nil:
		return nil, nil
	}
	if !asks(said) {
		said.Command = inherited.Command
	}
	said.Interval = cmp.Or(said.Interval, inherited.Interval, defaultHealthInterval)
	said.Timeout = cmp.Or(said.Timeout, inherited.Timeout, defaultHealthTimeout)
	said.StartPeriod = cmp.Or(said.StartPeriod, inherited.StartPeriod)
	said.StartInterval = cmp.Or(said.StartInterval, inherited.StartInterval, defaultHealthStartInterval)
	said.Retries = cmp.Or(said.Retries, inherited.Retries, defaultHealthRetries)
	return &said, checkHealth(spec, said)
}

// ImageHealth is how a container of the image is asked of which no more is said: by its HEALTHCHECK, or nil.
func (e *Engine) ImageHealth(ctx context.Context, image string) (*naru.HealthCheck, error) {
	img, err := e.cfg.Images.Find(ctx, image)
	if err != nil {
		return nil, err
	}
	return healthCheck(ContainerSpec{Image: image}, img)
}

// asks reports whether the check says what to ask.
func asks(check naru.HealthCheck) bool {
	return len(check.Command) > 0 || check.HTTPPath != "" || check.Port != 0
}

func checkHealth(spec ContainerSpec, check naru.HealthCheck) error {
	overNetwork := len(check.Command) == 0
	switch {
	case !asks(check):
		return naru.Errorf(naru.InvalidArgument, "the health check does not say what to ask, and image %s has none: give a command, an HTTP path or a TCP port", spec.Image)
	case !overNetwork && (check.HTTPPath != "" || check.Port != 0):
		return naru.Errorf(naru.InvalidArgument, "a health check is a command, an HTTP path or a TCP port: leave out all but one")
	case overNetwork && check.Port == 0:
		return naru.Errorf(naru.InvalidArgument, "the health check of %s needs a port", check.HTTPPath)
	case check.HTTPPath != "" && !strings.HasPrefix(check.HTTPPath, "/"):
		return naru.Errorf(naru.InvalidArgument, "health check: %q is not a path: it must begin with /", check.HTTPPath)
	case overNetwork && spec.Network == NoNetwork:
		return naru.Errorf(naru.InvalidArgument, "a container without a network cannot be asked over it: use a command as its health check")
	case min(check.Interval, check.Timeout, check.StartInterval) < time.Millisecond || check.StartPeriod < 0:
		return naru.Errorf(naru.InvalidArgument, "health check: its times must be a millisecond or more")
	case check.Retries < 0:
		return naru.Errorf(naru.InvalidArgument, "health check: %d retries: give a number from 1 on", check.Retries)
	}
	return nil
}

// newHealth is how a container is that has just been started, nil without a health check.
func newHealth(check *naru.HealthCheck) *Health {
	if check == nil {
		return nil
	}
	return &Health{Status: HealthStarting}
}

// hear takes in an answer of a container that was of an age when it was asked. The health before it stays as it is.
func (h Health) hear(check naru.HealthCheck, age time.Duration, a HealthAnswer) *Health {
	h.Answers = append(slices.Clone(h.Answers[max(0, len(h.Answers)+1-keptAnswers):]), a)
	switch {
	case a.Err() == nil:
		h.Status, h.Failing = Healthy, 0
	case h.Status == HealthStarting && age < check.StartPeriod:
		// It may still come.
	default:
		if h.Failing++; h.Failing >= check.Retries {
			h.Status = Unhealthy
		}
	}
	return &h
}

// wait is how long until a container of an age is asked again. Answers of the daemon before have no time but the wall
// clock's: one that was set cannot make it long.
func (h Health) wait(check naru.HealthCheck, age time.Duration, now time.Time) time.Duration {
	since, pause := age, check.Interval
	if n := len(h.Answers); n > 0 {
		since = now.Sub(h.Answers[n-1].End)
	}
	if h.Status == HealthStarting && age < check.StartPeriod {
		pause = check.StartInterval
	}
	return min(pause, max(0, pause-since))
}

// healthWatch asks one container, from a start or an unpausing on until it ends.
type healthWatch struct {
	stop context.CancelFunc

	asking sync.Mutex // held while a question is under way
	ended  bool       // guarded by asking
}

// watchHealth begins to ask a container that runs, when it has a health check, beside everything else. The caller holds
// Engine.mu.
func (e *Engine) watchHealth(en *entry) {
	if en.c.Spec.Health == nil || en.c.Paused {
		return
	}
	ctx, stop := context.WithCancel(e.life)
	w := &healthWatch{stop: stop}
	en.health = w
	e.waiting.Go(func() { e.askOften(ctx, en, w) })
}

// leaveHealth asks no more, and ends the question that is under way. The caller holds en.op.
func (e *Engine) leaveHealth(en *entry) {
	e.mu.Lock()
	w := en.health
	en.health = nil
	e.mu.Unlock()
	if w != nil {
		w.end()
	}
}

// resumeHealth asks again, unless the container is paused.
func (e *Engine) resumeHealth(en *entry) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.watchHealth(en)
}

func (w *healthWatch) end() {
	w.stop()
	w.asking.Lock()
	defer w.asking.Unlock()
	w.ended = true
}

// askOften asks until ctx ends.
func (e *Engine) askOften(ctx context.Context, en *entry, w *healthWatch) {
	for {
		c := e.snapshot(en)
		timer := time.NewTimer(c.Health.wait(*c.Spec.Health, c.Age(), time.Now()))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		age := c.Age()
		if answer, ok := e.askOnce(ctx, c, w); ok {
			e.heard(ctx, en, age, answer)
		}
	}
}

func (e *Engine) askOnce(ctx context.Context, c Container, w *healthWatch) (_ HealthAnswer, ok bool) {
	w.asking.Lock()
	defer w.asking.Unlock()
	if w.ended {
		return HealthAnswer{}, false
	}
	return e.Ask(ctx, c.ID, *c.Spec.Health), true
}

// heard takes in an answer, unless the run that gave it has ended meanwhile. A change that there is no room to write down
// holds all the same, as long as this daemon lives.
func (e *Engine) heard(ctx context.Context, en *entry, age time.Duration, a HealthAnswer) {
	en.op.Lock()
	defer en.op.Unlock()
	if ctx.Err() != nil {
		return
	}
	c := e.snapshot(en)
	before := c.Health.Status
	c.Health = c.Health.hear(*c.Spec.Health, age, a)
	e.mu.Lock()
	en.c.Health = c.Health
	e.mu.Unlock()
	if c.Health.Status == before {
		return
	}
	e.logFailure("write a container's health down", e.save(context.WithoutCancel(ctx), en, c))
	e.note("health_status: "+string(c.Health.Status), c)
}
