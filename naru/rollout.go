package naru

import (
	"fmt"
	"slices"
	"time"
)

// RolloutID identifies a Rollout, on one machine, in the order of creation.
type RolloutID int64

// RolloutState is where a Rollout stands.
//
//	            ┌──────────────────────────► failed
//	            │             │                 ▲
//	pending ─► starting ─► shifting ─► draining ─► done
//	   │        │             │
//	   └────────┴─────────────┴──► superseded (a newer release of the same app took over)
//
// starting: the new instances are being made and are not yet ready; a service that is recreated has its turn when the
// others are. shifting: they get traffic, by steps in a canary.
// draining: they have all of it; the old finish what they hold and stop. A failure before the old are gone puts all
// traffic back on the old and removes the new.
type RolloutState string

// The states of a Rollout.
const (
	RolloutPending    RolloutState = "pending"
	RolloutStarting   RolloutState = "starting"
	RolloutShifting   RolloutState = "shifting"
	RolloutDraining   RolloutState = "draining"
	RolloutDone       RolloutState = "done"
	RolloutFailed     RolloutState = "failed"
	RolloutSuperseded RolloutState = "superseded"
)

var rolloutNext = map[RolloutState][]RolloutState{
	RolloutPending:  {RolloutStarting, RolloutFailed, RolloutSuperseded},
	RolloutStarting: {RolloutShifting, RolloutFailed, RolloutSuperseded},
	RolloutShifting: {RolloutDraining, RolloutFailed, RolloutSuperseded},
	RolloutDraining: {RolloutDone, RolloutFailed},
}

// Ended reports whether nothing more will happen.
func (s RolloutState) Ended() bool {
	return s == RolloutDone || s == RolloutFailed || s == RolloutSuperseded
}

// To is the only way to change state: it returns next, or an error that names both states.
func (s RolloutState) To(next RolloutState) (RolloutState, error) {
	if slices.Contains(rolloutNext[s], next) {
		return next, nil
	}
	return s, fmt.Errorf("change a rollout from %s to %s: not a step it can take", s, next)
}

// Rollout moves an app's traffic from one Release to another.
type Rollout struct {
	ID RolloutID `json:"id"`
	AppEnv
	From      ReleaseNumber `json:"from"` // 0: nothing ran before
	To        ReleaseNumber `json:"to"`   // 0: nothing runs after (the app goes down)
	State     RolloutState  `json:"state"`
	Step      int           `json:"step"`       // shifting: index of the canary step that runs; starting: 1 once services are recreated
	StepSince time.Time     `json:"step_since"` // when State or Step last changed
	Reason    string        `json:"reason,omitempty"`
	LogLines  []string      `json:"log_lines,omitempty"` // of a failed one: the last output of what failed
	CreatedAt time.Time     `json:"created_at"`
}

// Goal is the release that serves once r has ended, as far as is known: To, unless r failed or gave way, which leaves
// From in service.
func (r Rollout) Goal() ReleaseNumber {
	if r.State == RolloutFailed || r.State == RolloutSuperseded {
		return r.From
	}
	return r.To
}
