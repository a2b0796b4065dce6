package rollout

import (
	"fmt"

	"naru/naru"
	"naru/store"
)

// Enqueue writes a pending rollout of ro.AppEnv to release ro.To (0: down), whose row is written already, and makes an
// open one give way: the new one's plan removes what the old one had half started. A release that asks for a route
// or a port of the host that another app holds is naru.Conflict. Enqueue runs in the caller's transaction.
func (r *Rollouts) Enqueue(tx *store.Tx, ro naru.Rollout) (naru.RolloutID, error) {
	last, err := r.Newest(tx, ro.AppEnv)
	if err != nil {
		return 0, err
	}
	if last, err = r.giveWay(tx, last, ro.To); err != nil {
		return 0, err
	}
	now := r.cfg.Now().UTC()
	next := naru.Rollout{AppEnv: ro.AppEnv, From: last.Goal(), To: ro.To, State: naru.RolloutPending, Reason: ro.Reason,
		StepSince: now, CreatedAt: now}
	if err := r.checkClaims(tx, next); err != nil {
		return 0, err
	}
	return insert(tx, next)
}

// giveWay ends an open rollout for a newer one. One that drains has moved all traffic and is done but for the
// removal of old sets, which any later plan does as well; an earlier one leaves its From in service.
func (r *Rollouts) giveWay(tx *store.Tx, last naru.Rollout, to naru.ReleaseNumber) (naru.Rollout, error) {
	if last.ID == 0 || last.State.Ended() {
		return last, nil
	}
	state, reason := naru.RolloutSuperseded, fmt.Sprintf("%s took over", nameOf(to))
	if last.State == naru.RolloutDraining {
		state, reason = naru.RolloutDone, ""
	}
	last, err := r.advanced(last, Advance{State: state, Step: last.Step, Reason: reason})
	if err != nil {
		return last, err
	}
	return last, update(tx, last)
}

// advanced is the rollout after an advance; a change that the states do not allow is an error.
func (r *Rollouts) advanced(ro naru.Rollout, a Advance) (naru.Rollout, error) {
	if a.State != ro.State { // a next step of shifting is no change of state
		next, err := ro.State.To(a.State)
		if err != nil {
			return ro, fmt.Errorf("rollout %d: %w", ro.ID, err)
		}
		ro.State = next
	}
	ro.Step, ro.Reason, ro.LogLines, ro.StepSince = a.Step, a.Reason, a.LogLines, r.cfg.Now().UTC()
	return ro, nil
}

// nameOf is a release in words.
func nameOf(n naru.ReleaseNumber) string {
	if n == 0 {
		return "the stop of the app"
	}
	return n.String()
}
