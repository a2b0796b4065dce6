//go:build !front

package main

import (
	"context"
	"sync"
	"time"

	"naru/api"
	"naru/api/server"
	"naru/engine"
	"naru/naru"
)

// containers is the engine as the API shows it.
type containers struct{ e *engine.Engine }

// List implements server.Containers.
func (c containers) List(ctx context.Context) ([]api.Container, error) {
	list, err := c.e.List(ctx)
	out := make([]api.Container, len(list))
	for i, ct := range list {
		out[i] = apiContainer(ct)
	}
	return out, err
}

// Get implements server.Containers.
func (c containers) Get(ctx context.Context, idOrName string) (api.Container, error) {
	ct, err := c.e.Get(ctx, idOrName)
	return apiContainer(ct), err
}

// Create implements server.Containers.
func (c containers) Create(ctx context.Context, spec api.ContainerSpec) (api.Container, error) {
	wanted, err := engineSpec(spec)
	if err != nil {
		return api.Container{}, err
	}
	if err := checkNetworks(c.e, wanted); err != nil {
		return api.Container{}, err
	}
	ct, err := c.e.Create(ctx, wanted)
	return apiContainer(ct), err
}

// Start implements server.Containers.
func (c containers) Start(ctx context.Context, idOrName string) error {
	return c.e.Start(ctx, idOrName)
}

// RunAttached implements server.Containers.
func (c containers) RunAttached(ctx context.Context, id string, st server.Streams) (int, error) {
	streams, stop := engineStreams(ctx, st)
	defer stop()
	ct, err := c.e.RunAttached(ctx, id, streams)
	return ct.ExitCode, err
}

// Stop implements server.Containers.
func (c containers) Stop(ctx context.Context, idOrName string, grace time.Duration) error {
	return c.e.Stop(ctx, idOrName, grace)
}

// Kill implements server.Containers.
func (c containers) Kill(ctx context.Context, idOrName, signal string) error {
	return c.e.Kill(ctx, idOrName, signal)
}

// Remove implements server.Containers.
func (c containers) Remove(ctx context.Context, idOrName string, force bool) error {
	return c.e.Remove(ctx, idOrName, force)
}

// engineStreams are the API's streams for the engine, until stop is called.
func engineStreams(ctx context.Context, st server.Streams) (_ engine.Streams, stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	sizes := make(chan engine.Size)
	var relaying sync.WaitGroup
	relaying.Go(func() {
		for {
			select {
			case s := <-st.Resize:
				select {
				case sizes <- engine.Size(s):
				case <-ctx.Done():
					return
				}
			case <-ctx.Done():
				return
			}
		}
	})
	stop = func() {
		cancel()
		relaying.Wait()
	}
	return engine.Streams{Stdin: st.Stdin, Stdout: st.Stdout, Stderr: st.Stderr, Resize: sizes}, stop
}

func engineSpec(s api.ContainerSpec) (engine.ContainerSpec, error) {
	restart, err := engine.ParseRestart(s.Restart)
	if err != nil {
		return engine.ContainerSpec{}, err
	}
	out := engine.ContainerSpec{
		Name: s.Name, Image: s.Image, Entrypoint: s.Entrypoint, Command: s.Command, Env: s.Env, User: s.User,
		WorkingDir: s.WorkingDir, Hostname: s.Hostname, Network: s.Network, Ports: s.Ports, Tmpfs: s.Tmpfs,
		ReadOnly: s.ReadOnly, Init: s.Init, TTY: s.TTY, OpenStdin: s.OpenStdin, Limits: s.Limits, Labels: s.Labels,
		StopSignal: s.StopSignal, StopGrace: s.StopGrace, HostUserNS: s.HostUserNS, AutoRemove: s.AutoRemove,
		Restart: restart, Health: s.Health, NoHealth: s.NoHealth, IO: s.IO, Isolation: s.Isolation, Logs: s.Logs,
	}
	setNetworkOptions(&out, s.NetworkOptions)
	for _, m := range s.Mounts {
		out.Mounts = append(out.Mounts, engine.Mount{Volume: string(m.Volume), Subpath: m.Subpath, HostPath: m.HostPath, Target: m.Target, ReadOnly: m.ReadOnly, Limit: m.Limit})
	}
	return out, nil
}

// apiContainer leaves the environment's values out: they may be secrets.
func apiContainer(c engine.Container) api.Container {
	s := c.Spec
	spec := api.ContainerSpec{
		Name: s.Name, Image: s.Image, Entrypoint: s.Entrypoint, Command: s.Command, User: s.User,
		WorkingDir: s.WorkingDir, Hostname: s.Hostname, Network: s.Network, Ports: s.Ports, Tmpfs: s.Tmpfs,
		ReadOnly: s.ReadOnly, Init: s.Init, TTY: s.TTY, OpenStdin: s.OpenStdin, Limits: s.Limits, Labels: s.Labels,
		StopSignal: s.StopSignal, StopGrace: s.StopGrace, HostUserNS: s.HostUserNS, AutoRemove: s.AutoRemove,
		Restart: s.Restart.String(), NetworkOptions: networkOptions(s), Health: s.Health, NoHealth: s.NoHealth,
		IO: s.IO, Isolation: s.Isolation, Logs: s.Logs,
	}
	for _, m := range s.Mounts {
		v := naru.VolumeMount{Volume: naru.VolumeName(m.Volume), HostPath: m.HostPath, Target: m.Target, ReadOnly: m.ReadOnly, Limit: m.Limit}
		spec.Mounts = append(spec.Mounts, api.Mount{VolumeMount: v, Subpath: m.Subpath})
	}
	return api.Container{ContainerSummary: summary(c), Spec: spec, Endpoints: endpoints(c)}
}

func summary(c engine.Container) api.ContainerSummary {
	out := api.ContainerSummary{
		ID: c.ID, Name: c.Name, Image: c.Spec.Image, ImageDigest: c.Image, Labels: c.Spec.Labels,
		State: string(c.State), PID: c.PID, Addr: c.Addr, Published: c.Ports,
		ExitCode: c.ExitCode, Signal: c.Signal, OOMKilled: c.OOMKilled, Reason: c.Reason(), Error: c.Error,
		Health: apiHealth(c.Health), Restarts: c.Restarts, RestartAt: c.RestartAt, CreatedAt: c.CreatedAt, StartedAt: c.StartedAt, FinishedAt: c.FinishedAt,
	}
	if c.Paused {
		out.State = "paused"
	}
	if len(out.Published) == 0 {
		out.Published = c.Spec.Ports
	}
	return out
}

func apiHealth(h *engine.Health) *api.Health {
	if h == nil {
		return nil
	}
	out := &api.Health{Status: string(h.Status), Failing: h.Failing}
	for _, a := range h.Answers {
		out.Answers = append(out.Answers, api.HealthAnswer(a))
	}
	return out
}
