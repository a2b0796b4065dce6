package main

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strconv"

	"naru/api"
	"naru/api/server"
	"naru/delivery/release"
	"naru/engine"
	"naru/engine/logs"
	"naru/naru"
	"naru/store"
	"naru/target"
	"naru/target/machine"
)

// processes runs what is no instance: execs and jobs.
type processes struct {
	engine   *engine.Engine
	machine  *machine.Machine
	releases *release.Releases
	store    *store.Store
}

// Exec implements server.Processes.
func (p processes) Exec(ctx context.Context, id string, q api.ExecRequest, st server.Streams) (int, error) {
	streams, stop := engineStreams(ctx, st)
	defer stop()
	return p.engine.Exec(ctx, id, engine.ExecSpec{
		Command: q.Command, Env: q.Env, User: q.User, WorkingDir: q.WorkingDir, TTY: q.TTY,
	}, streams)
}

// RunJob implements server.Processes.
func (p processes) RunJob(ctx context.Context, job naru.JobSpec, st server.Streams) (int, error) {
	set, err := p.jobSet(ctx, job)
	if err != nil {
		return 0, err
	}
	streams, stop := engineStreams(ctx, st)
	defer stop()
	return p.machine.RunJob(ctx, set, job, streams)
}

// jobSet is the service of the current release that the job borrows image, variables and network from.
func (p processes) jobSet(ctx context.Context, job naru.JobSpec) (target.Set, error) {
	current, err := p.releases.Current(ctx, job.AppEnv)
	if err != nil {
		return target.Set{}, err
	}
	i := slices.IndexFunc(current.Services, func(s naru.ReleasedService) bool { return s.Name == job.Service })
	if i < 0 {
		return target.Set{}, naru.Errorf(naru.NotFound, "%s of %s has no service %q", current.Number, job.AppEnv, job.Service)
	}
	var config naru.Config
	err = p.store.View(ctx, func(tx *store.Tx) error {
		config, err = release.Table{}.Config(tx, job.AppEnv, current.ConfigVersion)
		return err
	})
	if err != nil {
		return target.Set{}, fmt.Errorf("read the config of %s: %w", job.AppEnv, err)
	}
	s := current.Services[i]
	return target.Set{AppEnv: job.AppEnv, Key: s.SetKey(current.ConfigVersion), Release: current.Number, Service: s,
		Variables: variables(s, config)}, nil
}

// variables is the environment that rollouts give to a service's instances.
func variables(s naru.ReleasedService, config naru.Config) target.Variables {
	v := target.Variables{}
	if s.Port != 0 {
		v["PORT"] = strconv.Itoa(int(s.Port))
	}
	maps.Copy(v, s.Environment)
	maps.Copy(v, config.Variables)
	return v
}

// containerLogs is the engine's logs as the API shows them.
type containerLogs struct{ e *engine.Engine }

// Logs implements server.Logs.
func (a containerLogs) Logs(ctx context.Context, id string, o api.LogOptions) iter.Seq2[api.LogEntry, error] {
	options := logs.Options{Follow: o.Follow, Since: o.Since, Tail: o.Tail}
	switch { // the API counts lines, and all are a negative number; logs has it the other way round
	case o.Tail < 0:
		options.Tail = 0
	case o.Tail == 0:
		options.Tail = -1
	}
	return func(yield func(api.LogEntry, error) bool) {
		for e, err := range a.e.Logs(ctx, id, options) {
			if !yield(api.LogEntry{Time: e.Time, Stream: e.Stream.String(), Data: e.Data}, err) {
				return
			}
		}
	}
}
