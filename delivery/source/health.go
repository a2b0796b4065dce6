package source

import (
	"math"
	"time"

	"github.com/compose-spec/compose-go/v2/types"

	"naru/naru"
)

// Compose's defaults, for its `healthcheck`; and naru's own for `x-naru: {health: …}`, which may ask more often as a
// GET costs less than a process.
const (
	composeInterval = 30 * time.Second
	composeTimeout  = 30 * time.Second
	healthInterval  = 5 * time.Second
	healthTimeout   = 5 * time.Second
	healthRetries   = 3
)

// healthcheck is Compose's way to say it: a command, or that the image's own is not to be asked.
func (c *converter) healthcheck(s types.ServiceConfig) (check *naru.HealthCheck, none bool) {
	h := s.HealthCheck
	switch {
	case h == nil:
		return nil, false
	case h.Disable || len(h.Test) > 0 && h.Test[0] == "NONE":
		return nil, true
	}
	at := c.at(s.Name, "healthcheck")
	command, ok := healthCommand(h.Test)
	if !ok {
		c.invalid(at, "healthcheck needs a test: a command line, or [\"CMD\", program, argument, …]")
	}
	if h.Retries != nil && *h.Retries > math.MaxInt32 {
		c.invalid(at, "healthcheck: %d retries are too many", *h.Retries)
	}
	check = &naru.HealthCheck{Command: command, Interval: composeInterval, Timeout: composeTimeout, Retries: healthRetries}
	setDuration(&check.Interval, h.Interval)
	setDuration(&check.Timeout, h.Timeout)
	setDuration(&check.StartPeriod, h.StartPeriod)
	if h.Retries != nil && *h.Retries > 0 {
		check.Retries = int(min(*h.Retries, math.MaxInt32))
	}
	return check, false
}

// healthCommand turns Compose's test, whose first word says how to read the rest, into a command.
func healthCommand(test []string) ([]string, bool) {
	switch {
	case len(test) < 2:
		return nil, false
	case test[0] == "CMD":
		return test[1:], true
	case test[0] == "CMD-SHELL" && len(test) == 2:
		return []string{"/bin/sh", "-c", test[1]}, true
	}
	return nil, false
}

// setDuration overwrites a default with what the file says; zero says "the default" in Compose too.
func setDuration(to *time.Duration, d *types.Duration) {
	if d != nil && *d > 0 {
		*to = time.Duration(*d)
	}
}
