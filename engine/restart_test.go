package engine

import (
	"testing"
	"time"
)

func TestPolicies(t *testing.T) {
	ended := func(p RestartPolicy, code, restarts int, stopped bool) Container {
		return Container{Spec: ContainerSpec{Restart: p}, ExitCode: code, Restarts: restarts, Stopped: stopped}
	}
	for name, test := range map[string]struct {
		c    Container
		want bool
	}{
		"none":                         {ended(RestartPolicy{}, 1, 0, false), false},
		"always, well":                 {ended(RestartPolicy{Name: Always}, 0, 99, false), true},
		"always, stopped":              {ended(RestartPolicy{Name: Always}, 0, 0, true), false},
		"unless stopped, killed":       {ended(RestartPolicy{Name: UnlessStopped}, 137, 0, false), true},
		"unless stopped, stopped":      {ended(RestartPolicy{Name: UnlessStopped}, 143, 0, true), false},
		"on failure, well":             {ended(RestartPolicy{Name: OnFailure}, 0, 0, false), false},
		"on failure, failed":           {ended(RestartPolicy{Name: OnFailure}, 3, 50, false), true},
		"on failure, failed once more": {ended(RestartPolicy{Name: OnFailure, MaxRetries: 2}, 3, 1, false), true},
		"on failure, failed too often": {ended(RestartPolicy{Name: OnFailure, MaxRetries: 2}, 3, 2, false), false},
		"on failure, failed and ended": {ended(RestartPolicy{Name: OnFailure}, 3, 0, true), false},
	} {
		if got := test.c.wantsRestart(); got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestBackoffDoublesAndAGoodRunForgivesIt(t *testing.T) {
	now := time.Now()
	c := Container{Spec: ContainerSpec{Restart: RestartPolicy{Name: Always}}, StartedAt: now}
	for i, want := range []time.Duration{100 * time.Millisecond, 200 * time.Millisecond, 400 * time.Millisecond} {
		c.FinishedAt = now
		if c.settle(now); c.Backoff != want || c.State != Restarting || !c.RestartAt.Equal(now.Add(want)) {
			t.Fatalf("end %d: %s, wait %v", i, c.State, c.Backoff)
		}
	}
	for range 20 {
		c.settle(now)
	}
	if c.Backoff != longestBackoff {
		t.Fatalf("the wait grows to %v", c.Backoff)
	}
	c.FinishedAt = now.Add(goodRun)
	if c.settle(now); c.Backoff != firstBackoff {
		t.Fatalf("after a good run the wait is %v", c.Backoff)
	}
}
