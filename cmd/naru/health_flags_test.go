package main

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"

	"naru/api"
	"naru/naru"
)

func TestHealthFlags(t *testing.T) {
	for line, want := range map[string]*naru.HealthCheck{
		"":                                    nil,
		"--health-cmd=true":                   {Command: []string{"/bin/sh", "-c", "true"}},
		"--health-http=8080/healthz?full":     {HTTPPath: "/healthz?full", Port: 8080},
		"--health-tcp=5432":                   {Port: 5432},
		"--health-retries=2":                  {Retries: 2},
		"--health-cmd=x --health-interval=1s": {Command: []string{"/bin/sh", "-c", "x"}, Interval: time.Second},
		"--health-timeout=1s --health-start-period=2s --health-start-interval=3s": {Timeout: time.Second, StartPeriod: 2 * time.Second, StartInterval: 3 * time.Second},
	} {
		spec, err := parseHealth(t, line)
		if diff := cmp.Diff(want, spec.Health); diff != "" || err != nil || spec.NoHealth {
			t.Errorf("%q: %v (-want +got):\n%s", line, err, diff)
		}
	}
	if spec, err := parseHealth(t, "--no-healthcheck"); err != nil || !spec.NoHealth || spec.Health != nil {
		t.Errorf("%v %+v", err, spec)
	}
	for _, wrong := range []string{"--health-http=8080", "--health-http=/healthz", "--health-http=x/y", "--health-tcp=0", "--health-tcp=80/x", "--health-http=80/ --health-tcp=80"} {
		if _, err := parseHealth(t, wrong); naru.CodeOf(err) != naru.InvalidArgument || !strings.Contains(err.Error(), "--health-") {
			t.Errorf("%q: %v", wrong, err)
		}
	}
}

func parseHealth(t *testing.T, line string) (api.ContainerSpec, error) {
	t.Helper()
	var f healthFlags
	var spec api.ContainerSpec
	fs := pflag.NewFlagSet("", pflag.ContinueOnError)
	f.register(fs)
	if err := fs.Parse(strings.Fields(line)); err != nil {
		t.Fatal(err)
	}
	err := f.apply(&spec)
	return spec, err
}
