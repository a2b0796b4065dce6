package machine

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"naru/engine"
	"naru/naru"
)

// instances reads "a:ready b:backoff@2s c:running,probed d:stopping,busy": states, and when the next start may be.
func instances(text string, now time.Time) (out []instanceView) {
	for n, word := range strings.Fields(text) {
		id, rest, _ := strings.Cut(word, ":")
		flags := strings.Split(rest, ",")
		state, after, _ := strings.Cut(flags[0], "@")
		i := instanceView{id: id, state: naru.InstanceState(state), createdAt: now.Add(time.Duration(n) * time.Second),
			busy: slices.Contains(flags, "busy"), probed: slices.Contains(flags, "probed")}
		if after != "" {
			d, err := time.ParseDuration(after)
			if err != nil {
				panic(err)
			}
			i.notBefore = now.Add(d)
		}
		i.container = (&instance{state: i.state}).container()
		out = append(out, i)
	}
	return out
}

func TestPlan(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	cases := []struct {
		name, instances string
		wanted          int
		creating        int
		removing        bool
		createAfter     time.Duration
		want            string
		again           time.Duration // zero: never
	}{
		{name: "nothing there", wanted: 2, want: "create create"},
		{name: "one is being made", wanted: 2, creating: 1, want: "create"},
		{name: "a creation failed a moment ago", wanted: 1, createAfter: time.Second, again: time.Second},
		{name: "made, not started", wanted: 1, instances: "a:starting", want: "start a"},
		{name: "being started", wanted: 1, instances: "a:starting,busy"},
		{name: "runs, nobody asks it", wanted: 1, instances: "a:running", want: "probe a"},
		{name: "runs and is asked", wanted: 1, instances: "a:running,probed"},
		{name: "as wanted", wanted: 2, instances: "a:ready,probed b:ready,probed"},
		{name: "died, may start", wanted: 1, instances: "a:backoff", want: "start a"},
		{name: "died, must wait", wanted: 2, instances: "a:backoff@2s b:backoff@3s", again: 2 * time.Second},
		{name: "the one that is not ready goes first", wanted: 1, instances: "a:running,probed b:ready,probed", want: "stop a"},
		{name: "of equals the youngest goes", wanted: 1, instances: "a:ready,probed b:ready,probed", want: "stop b"},
		{name: "one stops already, and does not count", wanted: 1, instances: "a:stopping,busy", want: "create"},
		{name: "a stop that failed is tried again", wanted: 0, instances: "a:stopping", want: "stop a"},
		{name: "removing stops all", wanted: 2, removing: true, instances: "a:ready,probed b:backoff@9s", want: "stop a stop b"},
		{name: "removed when all are gone", wanted: 2, removing: true, want: "forget"},
		{name: "not while one is being made", removing: true, creating: 1},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			v := setView{wanted: c.wanted, creating: c.creating, removing: c.removing, instances: instances(c.instances, now)}
			if c.createAfter > 0 {
				v.notBefore = now.Add(c.createAfter)
			}
			ops, again := plan(now, v)
			if got := words(ops); got != c.want {
				t.Errorf("plan %q, want %q", got, c.want)
			}
			if c.again == 0 != again.IsZero() || (c.again > 0 && !again.Equal(now.Add(c.again))) {
				t.Errorf("again at %v, want in %v", again, c.again)
			}
		})
	}
}

func words(ops []op) string {
	var out []string
	for _, o := range ops {
		out = append(out, strings.TrimSpace(fmt.Sprintf("%s %s", o.kind, o.id)))
	}
	return strings.Join(out, " ")
}

func TestBackoffGrowsFromNothingToItsBound(t *testing.T) {
	want := []time.Duration{0, 0, 200 * time.Millisecond, 400 * time.Millisecond, 800 * time.Millisecond}
	for deaths, d := range want {
		if got := backoff(deaths); got != d {
			t.Errorf("after %d deaths %v, want %v", deaths, got, d)
		}
	}
	if got := backoff(1000); got != maxBackoff {
		t.Errorf("after many deaths %v, want %v", got, maxBackoff)
	}
}

func TestAnInstanceThatNeverWasReadyFailsItsSetInTheEnd(t *testing.T) {
	now := time.Now()
	s := &set{instances: map[string]*instance{}}
	s.Service.Name = "web"
	c := engine.Container{ID: "a", State: engine.Running}
	for n := range deadlyExits {
		if s.failure != "" {
			t.Fatalf("failed after %d exits: %s", n, s.failure)
		}
		c.State, c.StartedAt = engine.Running, now.Add(time.Duration(n)*time.Second)
		s.see(now, c)
		c.State, c.ExitCode = engine.Exited, 3
		s.see(now, c)
	}
	if want := "service web: exited with status 3"; s.failure != want {
		t.Fatalf("failure %q, want %q", s.failure, want)
	}
}

func TestAProgramThatIsNotThereFailsItsSetAtOnce(t *testing.T) {
	s := &set{instances: map[string]*instance{}}
	s.see(time.Now(), engine.Container{ID: "a", State: engine.Exited, ExitCode: 127, Error: `exec "nope": not found`})
	if !strings.Contains(s.failure, "nope") {
		t.Fatalf("failure %q does not name the program", s.failure)
	}
}

func TestAgeDoesNotFollowAClockThatIsSet(t *testing.T) {
	check := &naru.HealthCheck{Interval: time.Second, Timeout: time.Second, Retries: 1}
	for _, setBack := range []time.Duration{0, time.Hour, -time.Hour} {
		now := time.Now()
		s := &set{instances: map[string]*instance{}}
		s.see(now, engine.Container{ID: "a", State: engine.Running, StartedAt: now.Add(setBack)})
		if age := now.Add(portless).Sub(s.instances["a"].runsSince); age < portless || patienceEnded(check, age) {
			t.Errorf("set back by %v: after %v it is %v old", setBack, portless, age)
		}
		if age := now.Add(time.Minute).Sub(s.instances["a"].runsSince); !patienceEnded(check, age) {
			t.Errorf("set back by %v: after a minute it is %v old", setBack, age)
		}
	}
}

func TestAPortIsPublishedForBothFamilies(t *testing.T) {
	s := &set{instances: map[string]*instance{}}
	s.Service.Ports = []naru.PublishedPort{{HostPort: 80, Port: 8080, Protocol: "tcp"}}
	a, six := netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("fd00::2")
	s.see(time.Now(), engine.Container{ID: "a", State: engine.Running, StartedAt: time.Now(), Addr: a,
		Endpoints: []engine.Endpoint{{Network: "n", Interface: "eth0", Addr: a, Addr6: six}}})
	s.instances["a"].state = naru.InstanceReady
	got := s.publish(nil)
	want := []netip.AddrPort{netip.AddrPortFrom(a, 8080), netip.AddrPortFrom(six, 8080)}
	if len(got) != 1 || !slices.Equal(got[0].Backends, want) {
		t.Errorf("got %v, want the backends %v", got, want)
	}
}
