package main

import (
	"cmp"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"naru/api"
	"naru/naru"
)

// healthFlags are those of container run that say how it is asked whether it is well.
type healthFlags struct {
	command, http, tcp string
	check              naru.HealthCheck
	none               bool
}

func (f *healthFlags) register(fs *pflag.FlagSet) {
	fs.StringVar(&f.command, "health-cmd", "", "`command` line that tells, by status 0, that it is well")
	fs.StringVar(&f.http, "health-http", "", "`PORT/PATH` whose answer to a GET tells that it is well: 2xx or 3xx")
	fs.StringVar(&f.tcp, "health-tcp", "", "`port` that accepts a connection when it is well")
	fs.DurationVar(&f.check.Interval, "health-interval", 0, "`time` between two questions (default the image's, 30s)")
	fs.DurationVar(&f.check.Timeout, "health-timeout", 0, "`time` that an answer may take (default the image's, 30s)")
	fs.IntVar(&f.check.Retries, "health-retries", 0, "`number` of failures in a row that make it unhealthy (default the image's, 3)")
	fs.DurationVar(&f.check.StartPeriod, "health-start-period", 0, "`time` after its start in which failures do not count (default the image's, 0s)")
	fs.DurationVar(&f.check.StartInterval, "health-start-interval", 0, "`time` between two questions in the start period (default the image's, 5s)")
	fs.BoolVar(&f.none, "no-healthcheck", false, "no health check, not even the image's")
}

// apply reads the texts into the spec.
func (f *healthFlags) apply(spec *api.ContainerSpec) error {
	check := f.check
	if f.command != "" {
		check.Command = []string{"/bin/sh", "-c", f.command}
	}
	if err := f.applyNetwork(&check); err != nil {
		return err
	}
	spec.NoHealth = f.none
	paced := cmp.Or(check.Interval, check.Timeout, check.StartPeriod, check.StartInterval, time.Duration(check.Retries)) != 0
	if check.Command != nil || check.Port != 0 || paced {
		spec.Health = &check
	}
	return nil
}

func (f *healthFlags) applyNetwork(check *naru.HealthCheck) error {
	if f.http != "" && f.tcp != "" {
		return naru.Errorf(naru.InvalidArgument, "--health-http and --health-tcp: give one of the two")
	}
	port, path, hasPath := strings.Cut(f.http, "/")
	if hasPath {
		check.HTTPPath = "/" + path
	}
	if f.tcp != "" {
		port = f.tcp
	}
	if port == "" && !hasPath {
		return nil
	}
	var err error
	if check.Port, err = parsePortNumber(port); err != nil || f.http != "" && !hasPath {
		return naru.Errorf(naru.InvalidArgument, "write --health-http PORT/PATH, such as 8080/healthz, or --health-tcp PORT, not %q", f.http+f.tcp)
	}
	return nil
}
