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
)

// TestTheClockIsSet sets the machine's clock back and forth by hours, also in the middle of a rollout: what ends is
// started again, and what is changed is ready, as soon as at any other time.
func TestTheClockIsSet(t *testing.T) {
	if os.Getenv("NARU_MAY_SET_CLOCK") == "" {
		t.Skip("sets the machine's clock: make test-vm has one of its own")
	}
	d := start(t)
	before := d.Kernel()
	folder := t.TempDir()
	deploy(t, d, folder, "word-0")
	b := &box{name: "riser", port: testkit.FreePort(t), code: stopCode, want: runs, rises: true}
	c, err := d.API().RunContainer(t.Context(), b.spec())
	if err != nil {
		t.Fatal(err)
	}
	for n, by := range []time.Duration{-2 * time.Hour, 26 * time.Hour, -24 * time.Hour} {
		t.Logf("set the clock by %v", by)
		deploy(t, d, folder, fmt.Sprint("word-", n+1), "--no-wait")
		setClock(t, by)
		if err := syscall.Kill(c.PID, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		c = risen(t, d, c)
		testkit.Eventually(t, time.Minute, "the change serves", func() error { return serves(d, fmt.Sprint("word-", n+1)) })
	}
	d.OK("container", "rm", "-f", b.name)
	d.OK("down", "-a", "clocked")
	d.Settles(before)
}

// deploy brings up an app with a word to answer, and a service that listens nowhere, which is ready by its age.
func deploy(t *testing.T, d *testkit.Daemon, folder, word string, flags ...string) {
	t.Helper()
	text := fmt.Sprintf(`name: clocked
services:
  web:
    image: %s
    expose: ["8080"]
    stop_grace_period: 2s
    init: true
    command: ["sh", "-c", "mkdir -p /tmp/www && echo %s >/tmp/www/index.html && exec httpd -f -p 8080 -h /tmp/www"]
    depends_on: [worker]
  worker: {image: %s, init: true, stop_grace_period: 2s, command: ["sleep", "100000"], environment: {WORD: %s}}
`, busybox, word, busybox, word)
	if err := os.WriteFile(filepath.Join(folder, "compose.yaml"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	d.OK(append(append([]string{"up"}, flags...), folder)...)
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

// serves asks the router.
func serves(d *testkit.Daemon, word string) error {
	got, err := d.Get("clocked.localhost", "/")
	if err == nil && got != word {
		err = fmt.Errorf("it answers %q", got)
	}
	return err
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
