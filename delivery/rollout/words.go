package rollout

import (
	"fmt"
	"strings"

	"naru/naru"
)

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
		switch st, there := v.Observed.Set(key); {
		case there:
			parts = append(parts, fmt.Sprintf("%s %d of %d ready", s.Name, st.Ready, st.Wanted))
		case v.hasTurn(s.Name) && v.isKeptOut(s.Name, key):
			parts = append(parts, fmt.Sprintf("%s waits for the old to stop", s.Name))
		default:
			parts = append(parts, string(s.Name)+" waits")
		}
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
