// Package rollout receives rollouts that the release hop enqueued, owns their table and its one state machine, and
// hands on to a target: sets to keep, traffic to set. A pure Plan decides from the two releases and what the target
// observes; the loop in Run persists each advance before it acts on it, so that a crash anywhere resumes. Between
// rollouts the same plan keeps every app in its steady state. New instances start beside the old and take over their
// traffic at once or by steps; a service with the strategy recreate is stopped first, since its data bears one writer.
package rollout

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"sync/atomic"
	"time"

	"naru/naru"
	"naru/store"
	"naru/target"
)

// Releases is the hop before, as this one needs it: reads inside a transaction.
type Releases interface {
	Release(tx *store.Tx, ae naru.AppEnv, n naru.ReleaseNumber) (naru.Release, error)
	Config(tx *store.Tx, ae naru.AppEnv, version int) (naru.Config, error)
	Scales(tx *store.Tx, ae naru.AppEnv) (map[naru.ServiceName]int, error)
}

// Config is what rollouts need; Store, Target and Releases must be set.
type Config struct {
	Store    *store.Store
	Target   target.Target
	Releases Releases
	Domain   string           // of apps without a host of their own; "localhost" when empty
	Tick     time.Duration    // how often all is read again without a hint; 1 s when zero
	Now      func() time.Time // time.Now when nil
	Log      *slog.Logger     // nowhere when nil
}

// Rollouts moves traffic from release to release.
type Rollouts struct {
	cfg    Config
	awake  atomic.Pointer[time.Time] // the loop's to write, and anybody's who waits to read
	looked time.Time                 // last; only the loop's
}

// New returns the rollouts that c.Store remembers; Run carries them out.
func New(c Config) *Rollouts {
	if c.Domain == "" {
		c.Domain = "localhost"
	}
	if c.Tick == 0 {
		c.Tick = time.Second
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	now := c.Now()
	r := &Rollouts{cfg: c, looked: now}
	r.awake.Store(&now)
	return r
}

// Run carries out rollouts and keeps steady states until ctx ends. It looks when the store or the target hints that
// something changed, and every Tick in any case.
func (r *Rollouts) Run(ctx context.Context) error {
	stored, stopStore := r.cfg.Store.Watch()
	defer stopStore()
	observed, stopTarget := r.cfg.Target.Watch()
	defer stopTarget()
	tick := time.NewTicker(r.cfg.Tick)
	defer tick.Stop()
	for {
		if err := r.Reconcile(ctx); err != nil && ctx.Err() == nil {
			r.cfg.Log.Error("carry out rollouts", "error", err)
			pause(ctx, retryPause)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-stored:
		case <-observed:
		case <-tick.C:
		}
	}
}

// retryPause keeps trouble from turning the loop hot: what fails may itself write to the store, which is a hint.
const retryPause = 100 * time.Millisecond

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// Reconcile does for every app what can be done now. An app in trouble does not keep the others waiting.
func (r *Rollouts) Reconcile(ctx context.Context) error {
	r.minds(r.cfg.Now())
	var all []naru.Rollout
	err := r.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
		all, err = newest(tx)
		return err
	})
	if err != nil {
		return err
	}
	var errs []error
	for _, ro := range all {
		if err := r.reconcile(ctx, ro.AppEnv); err != nil {
			errs = append(errs, fmt.Errorf("app %s: %w", ro.AppEnv, err))
		}
	}
	return errors.Join(errs...)
}

// clockStep is further than a clock is off by itself between two looks.
const clockStep = 2 * time.Second

// minds wakes anew when the clock was set since the last look, or the machine slept: from a time that was written down
// before, nobody can tell how long ago that was.
func (r *Rollouts) minds(now time.Time) {
	set := now.Round(0).Sub(r.looked.Round(0)) - now.Sub(r.looked) // Round takes the monotonic clock's reading away
	if set.Abs() > clockStep {
		r.cfg.Log.Warn("the clock was set: the time of what is under way counts from now", "by", set.Round(time.Second))
		r.awake.Store(&now)
	}
	r.looked = now
}

// maxPlans bounds the plans made for one app in a row; a rollout with nothing to wait for needs five.
const maxPlans = 50

// reconcile plans and acts until there is nothing to do but wait: for time, or for a target to show what it was told.
func (r *Rollouts) reconcile(ctx context.Context, ae naru.AppEnv) error {
	var last []Op
	for range maxPlans {
		s, err := r.situation(ctx, ae)
		if err != nil {
			return err
		}
		ops := Plan(s)
		if len(ops) == 0 || reflect.DeepEqual(ops, last) {
			return nil
		}
		last = ops
		if err := r.act(ctx, s, ops); err != nil {
			return err
		}
	}
	return fmt.Errorf("planned %d times in a row without coming to rest", maxPlans)
}

// situation reads what a plan needs.
func (r *Rollouts) situation(ctx context.Context, ae naru.AppEnv) (Situation, error) {
	s := Situation{Now: r.cfg.Now(), Awake: *r.awake.Load(), Domain: r.cfg.Domain}
	err := r.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
		if s.Rollout, err = r.Newest(tx, ae); err != nil {
			return err
		}
		return r.releases(tx, &s)
	})
	if err != nil {
		return s, err
	}
	return s, r.observe(ctx, &s)
}

// observe fills in what is there, and the releases that a plan must know to judge it.
func (r *Rollouts) observe(ctx context.Context, s *Situation) (err error) {
	if s.Observed, err = r.cfg.Target.Observe(ctx, s.Rollout.AppEnv); err != nil {
		return fmt.Errorf("observe: %w", err)
	}
	for _, st := range s.Observed.Sets {
		if see(*s).knows(st.Key) {
			continue
		}
		if err := r.addLeft(ctx, s, st.Release); err != nil {
			return err
		}
	}
	return nil
}

// addLeft adds the release that left a set. One that is lost is not: its sets are judged without it.
func (r *Rollouts) addLeft(ctx context.Context, s *Situation, n naru.ReleaseNumber) error {
	return r.cfg.Store.View(ctx, func(tx *store.Tx) error {
		rel, err := r.cfg.Releases.Release(tx, s.Rollout.AppEnv, n)
		switch {
		case err == nil:
			s.Left = append(s.Left, rel)
		case naru.CodeOf(err) != naru.NotFound:
			return fmt.Errorf("read what left a set: %w", err)
		}
		return nil
	})
}

// releases fills in the two releases of s.Rollout and the scales.
func (r *Rollouts) releases(tx *store.Tx, s *Situation) (err error) {
	ae := s.Rollout.AppEnv
	if s.From, err = r.release(tx, ae, s.Rollout.From); err != nil {
		return err
	}
	if s.To, err = r.release(tx, ae, s.Rollout.To); err != nil {
		return err
	}
	s.Scales, err = r.cfg.Releases.Scales(tx, ae)
	return err
}

// release reads a release; number 0 is none.
func (r *Rollouts) release(tx *store.Tx, ae naru.AppEnv, n naru.ReleaseNumber) (*naru.Release, error) {
	if n == 0 {
		return nil, nil
	}
	rel, err := r.cfg.Releases.Release(tx, ae, n)
	return &rel, err
}
