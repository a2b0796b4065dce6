package faults

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"naru/internal/testkit"
	"naru/naru"
)

// TestTheClockIsSet sets the machine's clock back and forth by hours, each time in the pause of a rollout and with a
// container killed just then: that goes on, and this is started again, as soon as at any other time.
func TestTheClockIsSet(t *testing.T) {
	if os.Getenv("NARU_MAY_SET_CLOCK") == "" {
		t.Skip("sets the machine's clock: make test-vm has one of its own")
	}
	d := start(t)
	before := d.Kernel()
	folder := t.TempDir()
	writePausing(t, folder, "word-0")
	d.OK("up", folder)
	b := &box{name: "riser", port: testkit.FreePort(t), code: stopCode, want: runs, rises: true}
	c, err := d.API().RunContainer(t.Context(), b.spec())
	if err != nil {
		t.Fatal(err)
	}
	for n, by := range []time.Duration{-2 * time.Hour, 26 * time.Hour, -24 * time.Hour} {
		t.Logf("set the clock by %v", by)
		writePausing(t, folder, fmt.Sprint("word-", n+1))
		d.OK("up", "--no-wait", folder)
		awaitRollout(t, d, naru.RolloutShifting)
		setClock(t, by)
		if err := syscall.Kill(c.PID, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		c = risen(t, d, c)
		awaitRollout(t, d, naru.RolloutDone)
		if got, err := d.Get("clocked.localhost", "/"); err != nil || got != fmt.Sprint("word-", n+1) {
			t.Errorf("it answers %q, %v", got, err)
		}
	}
	d.OK("container", "rm", "-f", b.name)
	d.OK("down", "-a", "clocked")
	d.Settles(before)
}

// writePausing writes an app whose rollouts have a pause that an emulated machine has time to look into.
func writePausing(t *testing.T, folder, word string) {
	t.Helper()
	text := fmt.Sprintf(`name: clocked
services:
  web:
    image: %s
    expose: ["8080"]
    stop_grace_period: 2s
    init: true
    command: ["sh", "-c", "mkdir -p /tmp/www && echo %s >/tmp/www/index.html && exec httpd -f -p 8080 -h /tmp/www"]
    x-naru: {rollout: {strategy: canary, steps: [{weight: 50, pause: 10s}]}}
`, busybox, word)
	if err := os.WriteFile(filepath.Join(folder, "compose.yaml"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func awaitRollout(t *testing.T, d *testkit.Daemon, want naru.RolloutState) {
	t.Helper()
	testkit.Eventually(t, 2*time.Minute, "the rollout is "+string(want), func() error {
		var status naru.Rollout
		if d.JSON(&status, "rollout", "status", "-a", "clocked"); status.State != want {
			return fmt.Errorf("it is %s: %s", status.State, status.Reason)
		}
		return nil
	})
}

func risen(t *testing.T, d *testkit.Daemon, before testkit.Container) (c testkit.Container) {
	t.Helper()
	testkit.Eventually(t, time.Minute, "a container that was killed runs again", func() (err error) {
		if c, err = d.API().Container(t.Context(), before.Name); err == nil && (c.State != "running" || c.PID == before.PID) {
			err = fmt.Errorf("it is %s as process %d", c.State, c.PID)
		}
		return err
	})
	return c
}

// setClock sets the clock, and puts it right at the test's end.
func setClock(t *testing.T, by time.Duration) {
	t.Helper()
	shift := func(by time.Duration) {
		now := unix.NsecToTimespec(time.Now().Add(by).UnixNano())
		if err := unix.ClockSettime(unix.CLOCK_REALTIME, &now); err != nil {
			t.Fatal(err)
		}
	}
	shift(by)
	t.Cleanup(func() { shift(-by) })
}
