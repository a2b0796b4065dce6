package rollout

import (
	"context"
	"fmt"
	"strings"
	"time"

	"naru/naru"
	"naru/store"
	"naru/target"
)

// Progress is how a rollout stands, for people who wait for it.
type Progress struct {
	naru.Rollout
	Text string             `json:"text"` // one line: what happens now, or how it ended
	Sets []target.SetStatus `json:"sets"`
}

// String is the text; without it, the embedded AppEnv's would speak.
func (p Progress) String() string { return p.Text }

// Wait reports the rollout's progress now and whenever its text, state or step changes, until it has ended. How it
// ended is in the rollout returned; an error says that it cannot be known.
func (r *Rollouts) Wait(ctx context.Context, id naru.RolloutID, report func(Progress)) (naru.Rollout, error) {
	var last Progress
	err := r.watch(ctx, func() (bool, error) {
		p, err := r.progress(ctx, id)
		if err != nil {
			return false, err
		}
		if p.Text != last.Text || p.State != last.State || p.Step != last.Step {
			report(p)
		}
		last = p
		return p.State.Ended(), nil
	})
	if err != nil {
		return naru.Rollout{}, fmt.Errorf("wait for rollout %d: %w", id, err)
	}
	return last.Rollout, nil
}

// watch calls look now and whenever it may see something new, until it says that it is done.
func (r *Rollouts) watch(ctx context.Context, look func() (done bool, err error)) error {
	stored, stopStore := r.cfg.Store.Watch()
	defer stopStore()
	observed, stopTarget := r.cfg.Target.Watch()
	defer stopTarget()
	tick := time.NewTicker(r.cfg.Tick)
	defer tick.Stop()
	for {
		if done, err := look(); done || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-stored:
		case <-observed:
		case <-tick.C:
		}
	}
}

// Settle waits until all is as it should be: no rollout is open, and the sets that serve have the instances they
// should have, ready. It is for after a scale, which is no rollout. report gets a line whenever there is a new one. It
// waits as long as a set takes, but a set that the target calls failed ends it with naru.Failed, and one that stays
// behind for its ready timeout does so, too.
func (r *Rollouts) Settle(ctx context.Context, ae naru.AppEnv, report func(text string)) error {
	began, last := r.cfg.Now(), ""
	err := r.watch(ctx, func() (bool, error) {
		s, err := r.situation(ctx, ae)
		if err != nil {
			return false, err
		}
		v := see(s)
		text := v.lacking()
		if text != last && text != "" {
			report(text)
		}
		last = text
		return text == "", v.despair(began)
	})
	if err != nil {
		return fmt.Errorf("wait until %s has settled: %w", ae, err)
	}
	return nil
}

// lacking says what of the serving sets is not there yet, or "" when all is.
func (v view) lacking() string {
	if !v.Rollout.State.Ended() && v.Rollout.ID != 0 {
		return Describe(v.Situation)
	}
	var parts []string
	for _, set := range v.serving() {
		st, _ := v.Observed.Set(set.Key)
		if st.Ready < set.Instances || st.Wanted != set.Instances || len(st.Instances) > set.Instances {
			parts = append(parts, fmt.Sprintf("%s %d of %d ready", set.Service.Name, st.Ready, set.Instances))
		}
	}
	return strings.Join(parts, ", ")
}

// despair is the error of a serving set that is not going to be there.
func (v view) despair(began time.Time) error {
	for _, set := range v.serving() {
		st, _ := v.Observed.Set(set.Key)
		switch late := v.Now.Sub(began) >= readyTimeout(set.Service); {
		case !v.Rollout.State.Ended():
		case st.Failure != "":
			return naru.Errorf(naru.Failed, "%s: %s", set.Service.Name, st.Failure)
		case late && st.Ready < set.Instances:
			return naru.Errorf(naru.Failed, "%s: %d of %d instances are ready after %s", set.Service.Name, st.Ready, set.Instances, v.Now.Sub(began))
		}
	}
	return nil
}

// Follow waits for the newest rollout of ae and tells each about every state and step of it. An AppEnv that never
// had one is naru.NotFound.
func (r *Rollouts) Follow(ctx context.Context, ae naru.AppEnv, each func(naru.Rollout)) (naru.Rollout, error) {
	ro, err := r.Last(ctx, ae)
	if err != nil {
		return ro, err
	}
	var state naru.RolloutState
	step := 0
	return r.Wait(ctx, ro.ID, func(p Progress) {
		if p.State != state || p.Step != step {
			state, step = p.State, p.Step
			each(p.Rollout)
		}
	})
}

// Last is the newest rollout of ae; naru.NotFound when there never was one.
func (r *Rollouts) Last(ctx context.Context, ae naru.AppEnv) (ro naru.Rollout, err error) {
	err = r.cfg.Store.View(ctx, func(tx *store.Tx) error {
		ro, err = r.Newest(tx, ae)
		return err
	})
	if err == nil && ro.ID == 0 {
		err = naru.Errorf(naru.NotFound, "there is no app %s: 'naru apps' lists those there are, 'naru up' makes one", ae)
	}
	return ro, err
}

// Status is the progress of the newest rollout of ae.
func (r *Rollouts) Status(ctx context.Context, ae naru.AppEnv) (Progress, error) {
	ro, err := r.Last(ctx, ae)
	if err != nil {
		return Progress{}, err
	}
	return r.progress(ctx, ro.ID)
}

func (r *Rollouts) progress(ctx context.Context, id naru.RolloutID) (Progress, error) {
	s := Situation{Now: r.cfg.Now(), Domain: r.cfg.Domain}
	err := r.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
		if s.Rollout, err = get(tx, id); err != nil {
			return err
		}
		return r.releases(tx, &s)
	})
	if err != nil {
		return Progress{}, err
	}
	if err = r.observe(ctx, &s); err != nil {
		return Progress{}, err
	}
	return Progress{s.Rollout, Describe(s), s.Observed.Sets}, nil
}
