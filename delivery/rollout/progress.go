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
	stored, stopStore := r.cfg.Store.Watch()
	defer stopStore()
	observed, stopTarget := r.cfg.Target.Watch()
	defer stopTarget()
	tick := time.NewTicker(r.cfg.Tick)
	defer tick.Stop()
	var last Progress
	for {
		p, err := r.progress(ctx, id)
		if err != nil {
			return naru.Rollout{}, fmt.Errorf("wait for rollout %d: %w", id, err)
		}
		if p.Text != last.Text || p.State != last.State || p.Step != last.Step {
			report(p)
		}
		if last = p; p.State.Ended() {
			return p.Rollout, nil
		}
		select {
		case <-ctx.Done():
			return naru.Rollout{}, fmt.Errorf("wait for rollout %d: %w", id, ctx.Err())
		case <-stored:
		case <-observed:
		case <-tick.C:
		}
	}
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

// List returns the rollouts of ae, newest first.
func (r *Rollouts) List(ctx context.Context, ae naru.AppEnv) (all []naru.Rollout, err error) {
	err = r.cfg.Store.View(ctx, func(tx *store.Tx) error {
		all, err = list(tx, ae)
		return err
	})
	return all, err
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
	if s.Observed, err = r.cfg.Target.Observe(ctx, s.Rollout.AppEnv); err != nil {
		return Progress{}, fmt.Errorf("observe: %w", err)
	}
	return Progress{s.Rollout, Describe(s), s.Observed.Sets}, nil
}

// Describe says in one line what happens in a situation, or how the rollout ended.
func Describe(s Situation) string {
	v, to, from := see(s), nameOf(s.Rollout.To), s.Rollout.From
	switch s.Rollout.State {
	case naru.RolloutPending:
		return to + " is next"
	case naru.RolloutStarting:
		return "starting " + to + v.unready()
	case naru.RolloutShifting:
		return v.share()
	case naru.RolloutDraining:
		return v.farewell()
	case naru.RolloutDone:
		if s.To == nil {
			return "the app is down"
		}
		return to + " serves"
	case naru.RolloutFailed:
		if from == 0 {
			return fmt.Sprintf("%s failed: %s", to, s.Rollout.Reason)
		}
		return fmt.Sprintf("%s failed, %s serves on: %s", to, from, s.Rollout.Reason)
	default:
		return fmt.Sprintf("%s gave way: %s", to, s.Rollout.Reason)
	}
}

// unready lists the new sets that the rollout waits for.
func (v view) unready() string {
	var parts []string
	for _, s := range v.to.services() {
		key := v.to.key(s.Name)
		if !v.isNew(key) || v.isReady(key) {
			continue
		}
		st, there := v.Observed.Set(key)
		if !there {
			parts = append(parts, string(s.Name)+" waits")
			continue
		}
		parts = append(parts, fmt.Sprintf("%s %d of %d ready", s.Name, st.Ready, st.Wanted))
	}
	if len(parts) == 0 {
		return ""
	}
	return ": " + strings.Join(parts, ", ")
}

// share says how much traffic the new release has.
func (v view) share() string {
	if v.Rollout.Step >= v.steps() {
		return "moving all traffic to " + nameOf(v.Rollout.To)
	}
	var parts []string
	for _, s := range v.to.services() {
		if v.isCanary(s) {
			parts = append(parts, fmt.Sprintf("%d %% of %s", s.Rollout.Steps[min(v.Rollout.Step, len(s.Rollout.Steps)-1)].Weight, s.Name))
		}
	}
	return fmt.Sprintf("%s has %s for %s (step %d of %d)", nameOf(v.Rollout.To), strings.Join(parts, ", "),
		v.pause(v.Rollout.Step), v.Rollout.Step+1, v.steps())
}

// farewell names the old sets that are not gone yet.
func (v view) farewell() string {
	var parts []string
	for _, st := range v.Observed.Sets {
		if !v.serving().has(st.Key) {
			parts = append(parts, fmt.Sprintf("%s of %s", st.Service, st.Release))
		}
	}
	if len(parts) == 0 {
		return nameOf(v.Rollout.To) + " has all traffic"
	}
	return nameOf(v.Rollout.To) + " has all traffic, stopping " + strings.Join(parts, ", ")
}
