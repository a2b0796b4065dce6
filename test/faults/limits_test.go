package faults

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"naru/internal/testkit"
)

// TestOutOfPIDs uses up a container's process ids: a further process is refused for that reason, and welcome again when
// there is room.
func TestOutOfPIDs(t *testing.T) {
	d := start(t)
	before := d.Kernel()
	script := `for i in 1 2 3 4 5 6 7 8 9; do sleep 1000000 & done; wait`
	d.OK("container", "run", "-d", "--name", "full", "--pids-limit", "10", busybox, "sh", "-c", script)
	var r testkit.Result
	testkit.Eventually(t, 20*time.Second, "an exec finds no room", func() error {
		if r = d.Naru("container", "exec", "full", "true"); r.Code == 0 {
			return fmt.Errorf("%v", r)
		}
		return nil
	})
	if !strings.Contains(r.Stderr, "limit") {
		t.Errorf("the message says nothing of a limit: %v", r)
	}
	d.OK("container", "run", "--rm", busybox, "true")
	d.OK("container", "rm", "-f", "full")
	d.Settles(before)
}

// TestTooLittleToStart gives containers less memory, or fewer processes, than their start needs.
func TestTooLittleToStart(t *testing.T) {
	d := start(t)
	before := d.Kernel()
	for _, flags := range [][]string{{"-m", "100k"}, {"-m", "1m"}, {"-m", "3m"}, {"--pids-limit", "1"}, {"--pids-limit", "3"}} {
		args := append(append([]string{"container", "run", "--rm"}, flags...), busybox, "true")
		r := d.Naru(args...)
		if r.Took > 20*time.Second || r.Code == 125 && !strings.Contains(r.Stderr, "limit") || r.Code != 125 && r.Code != 137 && r.Code != 0 {
			t.Errorf("want it to run, or to fail soon and say that a limit was met: %v", r)
		}
	}
	d.OK("container", "run", "--rm", "-m", "32m", "--pids-limit", "10", busybox, "true")
	d.Settles(before)
}
