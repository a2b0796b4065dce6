package engine

import "testing"

func TestReasonsAreToldApart(t *testing.T) {
	for want, c := range map[string]Container{
		"":                     {State: Running, ExitCode: 0},
		"exited":               {State: Exited, ExitCode: 3},
		"killed by SIGSEGV":    {State: Exited, ExitCode: 139, Signal: 11},
		"stopped":              {State: Exited, Stopped: true},
		"stopped by SIGKILL":   {State: Restarting, ExitCode: 137, Signal: 9, Stopped: true},
		"out of memory":        {State: Exited, ExitCode: 137, Signal: 9, OOMKilled: true},
		"its end was not seen": {State: Exited, ExitCode: lostExitCode, Lost: true},
		"could not be started": {State: Exited, ExitCode: 127, Error: "no such program"},
	} {
		if got := c.Reason(); got != want {
			t.Errorf("%+v: %q, want %q", c, got, want)
		}
	}
	// A child that ran out of memory is no reason for an end in order.
	if c := (Container{State: Exited, OOMKilled: true}); c.Reason() != "exited" {
		t.Errorf("%q", c.Reason())
	}
}
