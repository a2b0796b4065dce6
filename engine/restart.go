package engine

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"naru/naru"
)

// RestartPolicy says when a container that has ended is started again, without anybody asking.
type RestartPolicy struct {
	Name       RestartName `json:"name,omitempty"`
	MaxRetries int         `json:"max_retries,omitempty"` // of OnFailure; zero: any number
}

// RestartName is one of docker's names for the policies.
type RestartName string

// The policies. Always also starts what somebody stopped, when a daemon begins; UnlessStopped does not.
const (
	NoRestart     RestartName = "" // "no"
	OnFailure     RestartName = "on-failure"
	Always        RestartName = "always"
	UnlessStopped RestartName = "unless-stopped"
)

// ParseRestart reads docker's form of a policy: no, on-failure[:N], always or unless-stopped.
func ParseRestart(s string) (RestartPolicy, error) {
	name, retries, limited := strings.Cut(s, ":")
	p := RestartPolicy{Name: RestartName(name)}
	if name == "no" {
		p.Name = NoRestart
	}
	if limited {
		n, err := strconv.Atoi(retries)
		if err != nil {
			return p, naru.Errorf(naru.InvalidArgument, "restart policy %q: %q is not a number of retries", s, retries)
		}
		p.MaxRetries = n
	}
	return p, p.validate()
}

// String is the form that ParseRestart reads; the empty one is no.
func (p RestartPolicy) String() string {
	if p.MaxRetries > 0 {
		return fmt.Sprintf("%s:%d", p.Name, p.MaxRetries)
	}
	return string(p.Name)
}

func (p RestartPolicy) validate() error {
	switch p.Name {
	case NoRestart, Always, UnlessStopped, OnFailure:
	default:
		return naru.Errorf(naru.InvalidArgument, "restart policy %q: use no, on-failure[:N], always or unless-stopped", p.Name)
	}
	if p.MaxRetries < 0 || (p.MaxRetries > 0 && p.Name != OnFailure) {
		return naru.Errorf(naru.InvalidArgument, "restart policy %s: a number of retries is for on-failure, and not negative", p.Name)
	}
	return nil
}

// The wait before a restart doubles from the first to the longest, and begins anew after a run of some length.
const (
	firstBackoff   = 100 * time.Millisecond
	longestBackoff = time.Minute
	goodRun        = 10 * time.Second
)

// wantsRestart says whether the policy starts the container again after the end that c tells of.
func (c Container) wantsRestart() bool {
	if c.Stopped {
		return false
	}
	switch c.Spec.Restart.Name {
	case Always, UnlessStopped:
		return true
	case OnFailure:
		most := c.Spec.Restart.MaxRetries
		return c.ExitCode != 0 && (most == 0 || c.Restarts < most)
	}
	return false
}

// settle decides what comes after an end: another start after a wait, or nothing.
func (c *Container) settle(now time.Time) {
	if !c.wantsRestart() {
		c.State, c.RestartAt = Exited, time.Time{}
		return
	}
	if !c.StartedAt.IsZero() && c.FinishedAt.Sub(c.StartedAt) >= goodRun {
		c.Backoff = 0
	}
	c.Backoff = min(max(2*c.Backoff, firstBackoff), longestBackoff)
	c.State, c.RestartAt = Restarting, now.Add(c.Backoff).UTC()
}

// wantsRevival says whether a container that has exited is started when a daemon begins.
func (c Container) wantsRevival() bool {
	return c.Spec.Restart.Name == Always && c.State == Exited && !c.StartedAt.IsZero()
}

// hint wakes the restarter; it reads again what is due.
func (e *Engine) hint() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// restartAll starts again what waits for it, each at its time, until ctx ends.
func (e *Engine) restartAll(ctx context.Context) {
	var starting sync.WaitGroup
	defer starting.Wait()
	for {
		due, next := e.dueRestarts(time.Now())
		for _, en := range due {
			starting.Go(func() { e.startAgain(ctx, en) })
		}
		timer := time.NewTimer(next)
		select {
		case <-e.wake:
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
		timer.Stop()
	}
}

// dueRestarts takes the containers whose time has come, and says how long until there may be more. A time further away
// than any wait is from before the clock was set back.
func (e *Engine) dueRestarts(now time.Time) (due []*entry, next time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	next = longestBackoff
	for _, en := range e.containers {
		if en.c.State != Restarting || en.queued {
			continue
		}
		wait := en.c.RestartAt.Sub(now)
		if wait > 0 && wait <= longestBackoff {
			next = min(next, wait)
			continue
		}
		en.queued = true
		due = append(due, en)
	}
	return due, next
}

// startAgain starts a container that waited for it, unless it was stopped or started meanwhile. One that cannot be
// started waits again, as after a run that failed at once.
func (e *Engine) startAgain(ctx context.Context, en *entry) {
	en.op.Lock()
	defer en.op.Unlock()
	defer e.unqueue(en)
	c := e.snapshot(en)
	if c.State != Restarting || e.isGone(en) {
		return
	}
	c.Restarts++
	err := e.startOnce(ctx, en, c)
	if err == nil || ctx.Err() != nil {
		return
	}
	e.log.Warn("restart a container", "container", c.Name, "restarts", c.Restarts, "err", err)
	e.mu.Lock()
	defer e.mu.Unlock()
	if en.c.State == Restarting && !en.c.RestartAt.After(time.Now()) { // not even the failure could be written down
		en.c.RestartAt = time.Now().Add(longestBackoff)
	}
}

func (e *Engine) unqueue(en *entry) {
	e.mu.Lock()
	defer e.mu.Unlock()
	en.queued = false
	e.hint()
}
