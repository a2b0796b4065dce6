package rollout

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"naru/naru"
)

// String is for logs: what is done, by the names that the target knows.
func (op ApplySet) String() string {
	return fmt.Sprintf("apply %s (%s) with %d instances", op.Key, op.Release, op.Instances)
}

// String is for logs.
func (op RemoveSet) String() string { return "remove " + string(op.Key) }

// String is for logs.
func (op SetTraffic) String() string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(op.Services)) {
		shares := make([]string, len(op.Services[name]))
		for i, w := range op.Services[name] {
			shares[i] = fmt.Sprintf("%s=%d", w.Release, w.Weight)
		}
		parts = append(parts, string(name)+" "+strings.Join(shares, " "))
	}
	if len(parts) == 0 {
		return "send no traffic"
	}
	return "send traffic: " + strings.Join(parts, ", ")
}

// String is for logs.
func (op Advance) String() string {
	text := "advance to " + string(op.State)
	if op.State == naru.RolloutShifting || op.State == naru.RolloutStarting && op.Step == recreating {
		text += fmt.Sprintf(" step %d", op.Step)
	}
	if op.Reason != "" {
		text += ": " + op.Reason
	}
	return text
}
