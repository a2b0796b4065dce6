package engine

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"naru/engine/image"
	"naru/naru"
)

// TestHear tells stories: each letter is an answer, one a second from the start on, + when it is well; the status and
// the streak after each.
func TestHear(t *testing.T) {
	start := time.Unix(1_700_000_000, 0)
	for name, test := range map[string]struct {
		check   naru.HealthCheck
		answers string
		want    string
	}{
		"well at once":                        {naru.HealthCheck{Retries: 2}, "+", "healthy0"},
		"a failure too few":                   {naru.HealthCheck{Retries: 2}, "-", "starting1"},
		"never well":                          {naru.HealthCheck{Retries: 2}, "--", "starting1 unhealthy2"},
		"ill, and well again":                 {naru.HealthCheck{Retries: 2}, "+--+", "healthy0 healthy1 unhealthy2 healthy0"},
		"a success forgives":                  {naru.HealthCheck{Retries: 2}, "+-+-", "healthy0 healthy1 healthy0 healthy1"},
		"failures in the start period":        {naru.HealthCheck{Retries: 1, StartPeriod: 3 * time.Second}, "---", "starting0 starting0 unhealthy1"},
		"well ends the start period":          {naru.HealthCheck{Retries: 1, StartPeriod: time.Hour}, "+-", "healthy0 unhealthy1"},
		"ill in the start period, after well": {naru.HealthCheck{Retries: 2, StartPeriod: time.Hour}, "-+-", "starting0 healthy0 healthy1"},
	} {
		h := newHealth(&test.check)
		var got []string
		for i, r := range test.answers {
			age := time.Duration(i+1) * time.Second
			a := HealthAnswer{Start: start.Add(age), End: start.Add(age)}
			if r == '-' {
				a.ExitCode = 1
			}
			before := *h
			h = h.hear(test.check, age, a)
			if len(before.Answers) != min(i, keptAnswers) {
				t.Errorf("%s: the health before has become %+v", name, before)
			}
			got = append(got, string(h.Status)+string(rune('0'+h.Failing)))
		}
		if diff := cmp.Diff(test.want, strings.Join(got, " ")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestOnlyTheLastAnswersAreKept(t *testing.T) {
	h := newHealth(&naru.HealthCheck{})
	for i := range 20 {
		h = h.hear(naru.HealthCheck{Retries: 3}, 0, HealthAnswer{ExitCode: i})
	}
	if n := len(h.Answers); n != keptAnswers || h.Answers[n-1].ExitCode != 19 || h.Answers[0].ExitCode != 15 {
		t.Fatalf("%+v", h.Answers)
	}
}

func TestWhenItIsAskedAgain(t *testing.T) {
	check := naru.HealthCheck{Interval: 10 * time.Second, StartInterval: time.Second, StartPeriod: 5 * time.Second}
	start := time.Unix(1_700_000_000, 0)
	after := func(s float64) time.Time { return start.Add(time.Duration(s * float64(time.Second))) }
	answered := func(status HealthStatus, s float64) Health {
		return Health{Status: status, Answers: []HealthAnswer{{End: after(s)}}}
	}
	for name, test := range map[string]struct {
		h    Health
		now  float64
		want float64
	}{
		"just started":              {Health{Status: HealthStarting}, 0, 1},
		"in the start period":       {answered(HealthStarting, 2), 2.5, 0.5},
		"after the start period":    {answered(HealthStarting, 5.5), 6, 9.5},
		"well in the start period":  {answered(Healthy, 2), 2, 10},
		"asked by a daemon before":  {answered(Healthy, 2), 100, 0},
		"the clock was set back":    {answered(Healthy, 5000), 10, 10},
		"since before the interval": {answered(Unhealthy, 20), 24, 6},
	} {
		if got := test.h.wait(check, after(test.now).Sub(start), after(test.now)).Seconds(); got != test.want {
			t.Errorf("%s: it waits %v s, want %v", name, got, test.want)
		}
	}
}

func TestHowAContainerIsAsked(t *testing.T) {
	inImage := &naru.HealthCheck{Command: []string{"/image"}, Interval: 7 * time.Second, Retries: 9}
	full := func(h naru.HealthCheck) *naru.HealthCheck {
		h.Timeout, h.StartInterval = defaultHealthTimeout, defaultHealthStartInterval
		return &h
	}
	for name, test := range map[string]struct {
		spec  ContainerSpec
		image *naru.HealthCheck
		want  *naru.HealthCheck
		says  string // of an error
	}{
		"nobody says":           {},
		"the image says":        {image: inImage, want: full(*inImage)},
		"refused":               {spec: ContainerSpec{NoHealth: true}, image: inImage},
		"the image's, slower":   {spec: ContainerSpec{Health: &naru.HealthCheck{Interval: time.Hour}}, image: inImage, want: full(naru.HealthCheck{Command: inImage.Command, Interval: time.Hour, Retries: 9})},
		"another, at its pace":  {spec: ContainerSpec{Health: &naru.HealthCheck{Port: 80}}, image: inImage, want: full(naru.HealthCheck{Port: 80, Interval: 7 * time.Second, Retries: 9})},
		"docker's defaults":     {spec: ContainerSpec{Health: &naru.HealthCheck{Port: 80, HTTPPath: "/"}}, want: full(naru.HealthCheck{Port: 80, HTTPPath: "/", Interval: 30 * time.Second, Retries: 3})},
		"a pace for nothing":    {spec: ContainerSpec{Health: &naru.HealthCheck{Interval: time.Hour}}, says: "what to ask"},
		"said and refused":      {spec: ContainerSpec{Health: &naru.HealthCheck{Port: 80}, NoHealth: true}, says: "refused"},
		"two at once":           {spec: ContainerSpec{Health: &naru.HealthCheck{Port: 80, Command: []string{"x"}}}, says: "all but one"},
		"a path without a port": {spec: ContainerSpec{Health: &naru.HealthCheck{HTTPPath: "/"}}, says: "needs a port"},
		"no path":               {spec: ContainerSpec{Health: &naru.HealthCheck{HTTPPath: "x", Port: 80}}, says: "begin with /"},
		"nowhere to ask":        {spec: ContainerSpec{Network: NoNetwork, Health: &naru.HealthCheck{Port: 80}}, says: "without a network"},
		"too often":             {spec: ContainerSpec{Health: &naru.HealthCheck{Port: 80, Interval: 1}}, says: "millisecond"},
		"negative":              {spec: ContainerSpec{Health: &naru.HealthCheck{Port: 80, StartPeriod: -1}}, says: "millisecond"},
		"fewer tries than none": {spec: ContainerSpec{Health: &naru.HealthCheck{Port: 80, Retries: -1}}, says: "retries"},
	} {
		got, err := healthCheck(test.spec, image.Image{Health: test.image})
		if test.says != "" {
			if naru.CodeOf(err) != naru.InvalidArgument || !strings.Contains(err.Error(), test.says) {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if diff := cmp.Diff(test.want, got); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", name, err, diff)
		}
	}
}
