package engine_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"naru/engine"
	"naru/internal/testkit"
	"naru/naru"
	"naru/store"
)

// asked is a change of a spec: its container is asked often, and one failure is enough.
func asked(check naru.HealthCheck) func(*engine.ContainerSpec) {
	check.Interval, check.Retries = 20*time.Millisecond, 1
	return func(s *engine.ContainerSpec) { s.Health = &check }
}

func shell(line string) naru.HealthCheck {
	return naru.HealthCheck{Command: []string{"/bin/sh", "-c", line}}
}

func (r *rig) untilHealth(id string, want engine.HealthStatus) engine.Container {
	r.t.Helper()
	return r.until(id, string(want), func(c engine.Container) bool { return c.Health != nil && c.Health.Status == want })
}

func (r *rig) run(id, command string) {
	r.t.Helper()
	if code, err := r.Exec(r.t.Context(), id, engine.ExecSpec{Command: []string{"/bin/sh", "-c", command}}, engine.Streams{}); err != nil || code != 0 {
		r.t.Fatalf("%s: status %d, %v", command, code, err)
	}
}

func TestACommandTellsHealthAndItOutlivesTheDaemon(t *testing.T) {
	r := newRig(t)
	since := time.Now()
	c := r.start(forever, asked(shell("echo looked; test -e /well")))
	if c.Health == nil || c.Health.Status != engine.HealthStarting {
		t.Fatalf("just started it is %+v", c.Health)
	}
	c = r.untilHealth(c.ID, engine.Unhealthy)
	if a := c.Health.Answers[0]; a.ExitCode != 1 || a.Output != "looked\n" || !a.End.After(a.Start) {
		t.Errorf("its answer is %+v", a)
	}
	r.run(c.ID, "touch /well")
	r.untilHealth(c.ID, engine.Healthy)
	r.events(since, "create start health_status: unhealthy health_status: healthy")
	r.Shut()
	r.Open()
	if c = r.get(c.ID); c.Health.Status != engine.Healthy {
		t.Fatalf("after the daemon's end it is %s", c.Health.Status)
	}
	r.run(c.ID, "rm /well")
	r.untilHealth(c.ID, engine.Unhealthy) // the next daemon goes on asking
	if err := r.Restart(t.Context(), c.ID, -1); err != nil {
		t.Fatal(err)
	}
	r.untilHealth(c.ID, engine.Unhealthy) // by asking again: a start begins anew
	if n := r.get(c.ID).Health.Failing; n == 0 {
		t.Error("it is unhealthy without a failure")
	}
}

// TestTheStartPeriodDoesNotFollowAClockThatIsSet: a row as a daemon finds it whose clock was set forth since.
func TestTheStartPeriodDoesNotFollowAClockThatIsSet(t *testing.T) {
	r := newRig(t)
	check := naru.HealthCheck{Command: []string{"false"}, Interval: time.Hour, StartPeriod: 2 * time.Hour, StartInterval: 20 * time.Millisecond, Retries: 1}
	c := r.start(forever, func(s *engine.ContainerSpec) { s.Health = &check })
	r.Shut()
	err := r.Store.Update(t.Context(), func(tx *store.Tx) error {
		return tx.Exec(`UPDATE containers SET container_json = json_set(container_json, '$.started_at', ?)`,
			c.StartedAt.Add(-3*time.Hour).Format(time.RFC3339Nano))
	})
	if err != nil {
		t.Fatal(err)
	}
	r.Open()
	testkit.Eventually(t, patience, "it is asked, often", func() error {
		c = r.get(c.ID)
		if n := len(c.Health.Answers); n < 3 {
			return fmt.Errorf("%d answers", n)
		}
		return nil
	})
	if c.Health.Status != engine.HealthStarting || c.Health.Failing != 0 {
		t.Errorf("after %v it is %+v", c.Age(), c.Health)
	}
	if age := c.Age(); age <= 0 || age > time.Hour {
		t.Errorf("its age is %v", age)
	}
}

// events expects that these happened, or do so soon: a state is seen before it is told.
func (r *rig) events(since time.Time, want string) {
	r.t.Helper()
	testkit.Eventually(r.t, patience, want, func() error {
		ctx, stop := context.WithCancel(r.t.Context())
		stop()
		var got []string
		err := r.Events(ctx, since, func(ev engine.Event) error {
			got = append(got, ev.Action)
			return nil
		})
		if !errors.Is(err, context.Canceled) || !strings.HasPrefix(strings.Join(got, " "), want) {
			return fmt.Errorf("%w: %q", err, got)
		}
		return nil
	})
}

// TestAQuestionEndsInTime: the command that hangs is killed, with what it started, and counts as a failure.
func TestAQuestionEndsInTime(t *testing.T) {
	r := newRig(t)
	check := shell("echo before; sleep 4242 | sleep 4242")
	check.Timeout = 2 * time.Second // enough to say its word on a slow machine
	c := r.start(forever, asked(check))
	c = r.untilHealth(c.ID, engine.Unhealthy)
	if a := c.Health.Answers[0]; a.ExitCode != -1 || !strings.Contains(a.Output, "no answer within 2s") || !strings.Contains(a.Output, "before") {
		t.Fatalf("%+v", a)
	}
	if err := r.Pause(t.Context(), c.ID); err != nil { // nobody is asked any more
		t.Fatal(err)
	}
	if err := r.Unpause(t.Context(), c.ID); err != nil {
		t.Fatal(err)
	}
	top, err := r.Top(t.Context(), c.ID)
	if err != nil {
		t.Fatal(err)
	}
	left := 0
	for _, p := range top {
		if strings.Contains(p.Command, "sleep 4242") {
			left++
		}
	}
	if left > 3 { // those of one question may have begun again
		t.Errorf("%d processes of questions are left", left)
	}
}

// TestABackgroundProcessOfAQuestionDoesNotHoldIt: what holds the output open is not waited for longer than the timeout.
func TestABackgroundProcessOfAQuestionDoesNotHoldIt(t *testing.T) {
	r := newRig(t)
	check := shell("sleep 4242 & exit 0")
	check.Timeout = 5 * time.Second // a start takes its time on a slow machine
	r.untilHealth(r.start(forever, asked(check)).ID, engine.Healthy)
}

func TestPausedNobodyIsAsked(t *testing.T) {
	r := newRig(t)
	c := r.start(forever, asked(shell("echo x >> /asked; sleep 0.05")))
	r.untilHealth(c.ID, engine.Healthy)
	if err := r.Pause(t.Context(), c.ID); err != nil {
		t.Fatal(err)
	}
	before := r.get(c.ID).Health.Answers
	r.Shut() // returns, for no question hangs in what is frozen
	r.Open()
	if err := r.Unpause(t.Context(), c.ID); err != nil {
		t.Fatal(err)
	}
	last := before[len(before)-1].End
	testkit.Eventually(t, patience, "it is asked again", func() error {
		if a := r.get(c.ID).Health.Answers; !a[len(a)-1].Start.After(last) {
			return errors.New("not yet")
		}
		return nil
	})
}

func TestHealthOverTheNetwork(t *testing.T) {
	r := newRig(t)
	serve := "mkdir /www; httpd -p 8080 -h /www; " + forever
	web := r.start(serve, asked(naru.HealthCheck{HTTPPath: "/well", Port: 8080}))
	port := r.start(serve, asked(naru.HealthCheck{Port: 8080}))
	deaf := r.start(forever, asked(naru.HealthCheck{Port: 8080}))
	host := r.start(forever, asked(naru.HealthCheck{Port: 1}), func(s *engine.ContainerSpec) { s.Network = engine.HostNetwork })
	shared := r.start(forever, asked(naru.HealthCheck{Port: 8080}), func(s *engine.ContainerSpec) { s.Network = "container:" + port.ID })
	r.untilHealth(port.ID, engine.Healthy)
	r.untilHealth(shared.ID, engine.Healthy)
	if c := r.untilHealth(host.ID, engine.Unhealthy); !strings.Contains(c.Health.Answers[0].Output, "127.0.0.1:1") {
		t.Errorf("on the host's network it was asked elsewhere: %+v", c.Health.Answers[0])
	}
	if c := r.untilHealth(deaf.ID, engine.Unhealthy); !strings.Contains(c.Health.Answers[0].Output, "port 8080") {
		t.Errorf("%+v", c.Health.Answers[0])
	}
	if c := r.untilHealth(web.ID, engine.Unhealthy); !strings.Contains(c.Health.Answers[len(c.Health.Answers)-1].Output, "404") {
		t.Errorf("%+v", c.Health.Answers)
	}
	r.run(web.ID, "echo fine > /www/well")
	r.untilHealth(web.ID, engine.Healthy)
}

// TestNoGoroutineStaysBehind starts and ends containers that are asked all the time.
func TestNoGoroutineStaysBehind(t *testing.T) {
	r := newRig(t)
	round := func() {
		c := r.start(forever, asked(shell("sleep 4242")))
		testkit.Eventually(t, patience, "it is asked", func() error {
			if n := r.processes(c); n < 3 {
				return fmt.Errorf("%d processes", n)
			}
			return nil
		})
		if err := r.Remove(t.Context(), c.ID, true); err != nil {
			t.Fatal(err)
		}
	}
	round() // what the first container starts for all of them stays
	before := runtime.NumGoroutine()
	for range 5 {
		round()
	}
	testkit.Eventually(t, patience, "all goroutines end", func() error {
		if n := runtime.NumGoroutine(); n > before {
			return fmt.Errorf("%d, %d before", n, before)
		}
		return nil
	})
}

// patience is for what comes by itself, on a machine that may be slow.
const patience = 20 * time.Second

// processes counts those of the container.
func (r *rig) processes(c engine.Container) int {
	var procs []string
	for _, hierarchy := range []string{"", "*/"} { // cgroup v2, v1
		found, err := filepath.Glob("/sys/fs/cgroup/" + hierarchy + "naru-" + engine.Tag(r.Data) + "/" + c.ID + "/cgroup.procs")
		if err != nil {
			r.t.Fatal(err)
		}
		procs = append(procs, found...)
	}
	if len(procs) == 0 {
		r.t.Fatal("it has no cgroup")
	}
	b, err := os.ReadFile(procs[0])
	if err != nil {
		r.t.Fatal(err)
	}
	return strings.Count(string(b), "\n")
}
