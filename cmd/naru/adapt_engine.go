package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"naru/api"
	"naru/api/server"
	"naru/engine"
	"naru/naru"
)

// containers is the engine as the API shows it.
type containers struct {
	e     *engine.Engine
	later chan string // ids of containers to remove at their end, whose client has left
}

func newContainers(e *engine.Engine) *containers {
	return &containers{e: e, later: make(chan string)}
}

// Run removes containers whose clients have left, each at its end, until ctx ends.
func (c *containers) Run(ctx context.Context) error {
	var waiting sync.WaitGroup
	defer waiting.Wait()
	for {
		select {
		case id := <-c.later:
			waiting.Go(func() { _ = c.removeAtEnd(ctx, id) }) // nobody is left to tell; container ls -a shows it
		case <-ctx.Done():
			return nil
		}
	}
}

func (c *containers) removeAtEnd(ctx context.Context, id string) error {
	if _, err := c.e.Wait(ctx, id); err != nil {
		return err
	}
	return c.e.Remove(context.WithoutCancel(ctx), id, false)
}

// List implements server.Containers.
func (c *containers) List(ctx context.Context) ([]api.Container, error) {
	list, err := c.e.List(ctx)
	out := make([]api.Container, len(list))
	for i, ct := range list {
		out[i] = apiContainer(ct)
	}
	return out, err
}

// Get implements server.Containers.
func (c *containers) Get(ctx context.Context, idOrName string) (api.Container, error) {
	ct, err := c.e.Get(ctx, idOrName)
	return apiContainer(ct), err
}

// Create implements server.Containers.
func (c *containers) Create(ctx context.Context, spec api.ContainerSpec) (api.Container, error) {
	ct, err := c.e.Create(ctx, engineSpec(spec))
	return apiContainer(ct), err
}

// Start implements server.Containers.
func (c *containers) Start(ctx context.Context, idOrName string) error {
	return c.e.Start(ctx, idOrName)
}

// RunAttached implements server.Containers.
func (c *containers) RunAttached(ctx context.Context, id string, remove bool, st server.Streams) (int, error) {
	code, err := c.runAttached(ctx, id, st)
	switch {
	case !remove:
		return code, err
	case ctx.Err() == nil:
		return code, errors.Join(err, c.e.Remove(context.WithoutCancel(ctx), id, true)) // by force: a start may fail halfway
	}
	select {
	case c.later <- id:
	case <-time.After(time.Second): // Run has ended: the daemon stops
	}
	return code, err
}

func (c *containers) runAttached(ctx context.Context, id string, st server.Streams) (int, error) {
	if err := c.e.Start(ctx, id); err != nil {
		return 0, err
	}
	streams, stop := engineStreams(ctx, st)
	defer stop()
	if err := c.e.Attach(ctx, id, streams); err != nil {
		return 0, fmt.Errorf("attach to container: %w", err)
	}
	ct, err := c.e.Wait(ctx, id)
	return ct.ExitCode, err
}

// Stop implements server.Containers.
func (c *containers) Stop(ctx context.Context, idOrName string, grace time.Duration) error {
	return c.e.Stop(ctx, idOrName, grace)
}

// Kill implements server.Containers.
func (c *containers) Kill(ctx context.Context, idOrName, signal string) error {
	return c.e.Kill(ctx, idOrName, signal)
}

// Remove implements server.Containers.
func (c *containers) Remove(ctx context.Context, idOrName string, force bool) error {
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

func engineSpec(s api.ContainerSpec) engine.ContainerSpec {
	out := engine.ContainerSpec{
		Name: s.Name, Image: s.Image, Entrypoint: s.Entrypoint, Command: s.Command, Env: s.Env, User: s.User,
		WorkingDir: s.WorkingDir, Hostname: s.Hostname, Network: s.Network, Ports: s.Ports, Tmpfs: s.Tmpfs,
		ReadOnly: s.ReadOnly, Init: s.Init, TTY: s.TTY, OpenStdin: s.OpenStdin, Limits: s.Limits, Labels: s.Labels,
		StopSignal: s.StopSignal, StopGrace: s.StopGrace, HostUserNS: s.HostUserNS, AutoRemove: s.AutoRemove,
	}
	for _, m := range s.Mounts {
		out.Mounts = append(out.Mounts, engine.Mount{Volume: string(m.Volume), HostPath: m.HostPath, Target: m.Target, ReadOnly: m.ReadOnly})
	}
	return out
}

// apiContainer leaves the environment's values out: they may be secrets.
func apiContainer(c engine.Container) api.Container {
	s := c.Spec
	spec := api.ContainerSpec{
		Name: s.Name, Image: s.Image, Entrypoint: s.Entrypoint, Command: s.Command, User: s.User,
		WorkingDir: s.WorkingDir, Hostname: s.Hostname, Network: s.Network, Ports: s.Ports, Tmpfs: s.Tmpfs,
		ReadOnly: s.ReadOnly, Init: s.Init, TTY: s.TTY, OpenStdin: s.OpenStdin, Limits: s.Limits, Labels: s.Labels,
		StopSignal: s.StopSignal, StopGrace: s.StopGrace, HostUserNS: s.HostUserNS, AutoRemove: s.AutoRemove,
	}
	for _, m := range s.Mounts {
		spec.Mounts = append(spec.Mounts, naru.VolumeMount{Volume: naru.VolumeName(m.Volume), HostPath: m.HostPath, Target: m.Target, ReadOnly: m.ReadOnly})
	}
	return api.Container{
		ID: c.ID, Name: c.Name, Spec: spec, ImageDigest: c.Image, State: string(c.State), PID: c.PID, Addr: c.Addr,
		ExitCode: c.ExitCode, OOMKilled: c.OOMKilled, Error: c.Error,
		CreatedAt: c.CreatedAt, StartedAt: c.StartedAt, FinishedAt: c.FinishedAt,
	}
}
