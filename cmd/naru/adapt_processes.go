//go:build !front

package main

import (
	"context"
	"iter"

	"naru/api"
	"naru/api/server"
	"naru/delivery/rollout"
	"naru/engine"
	"naru/engine/logs"
	"naru/naru"
	"naru/target/machine"
)

// processes runs what is no instance: execs and jobs.
type processes struct {
	engine   *engine.Engine
	machine  *machine.Machine
	rollouts *rollout.Rollouts
}

// Exec implements server.Processes.
func (p processes) Exec(ctx context.Context, id string, q api.ExecRequest, st server.Streams) (int, error) {
	streams, stop := engineStreams(ctx, st)
	defer stop()
	return p.engine.Exec(ctx, id, execSpec(q), streams)
}

// ExecDetached implements server.Processes.
func (p processes) ExecDetached(ctx context.Context, id string, q api.ExecRequest) error {
	return p.engine.ExecDetached(ctx, id, execSpec(q))
}

func execSpec(q api.ExecRequest) engine.ExecSpec {
	return engine.ExecSpec{Command: q.Command, Env: q.Env, User: q.User, WorkingDir: q.WorkingDir, TTY: q.TTY}
}

// RunJob implements server.Processes.
func (p processes) RunJob(ctx context.Context, job naru.JobSpec, st server.Streams) (int, error) {
	set, err := p.rollouts.Set(ctx, job.AppEnv, job.Service)
	if err != nil {
		return 0, err
	}
	streams, stop := engineStreams(ctx, st)
	defer stop()
	return p.machine.RunJob(ctx, set, job, streams)
}

// containerLogs is the engine's logs as the API shows them.
type containerLogs struct{ e *engine.Engine }

// Logs implements server.Logs.
func (a containerLogs) Logs(ctx context.Context, id string, o api.LogOptions) iter.Seq2[api.LogEntry, error] {
	options := logs.Options{Follow: o.Follow, Since: o.Since, Until: o.Until, Tail: o.Tail}
	switch { // the API counts lines, and all are a negative number; logs has it the other way round
	case o.Tail < 0:
		options.Tail = 0
	case o.Tail == 0:
		options.Tail = -1
	}
	return func(yield func(api.LogEntry, error) bool) {
		for e, err := range a.e.Logs(ctx, id, options) {
			if !yield(api.LogEntry{Time: e.Time, Stream: e.Stream.String(), Begin: e.Begin, Data: e.Data}, err) {
				return
			}
		}
	}
}
