//go:build !front

package main

import (
	"context"
	"time"

	"naru/api"
	"naru/api/server"
	"naru/engine"
)

// Restart implements server.Lifecycle.
func (c containers) Restart(ctx context.Context, idOrName string, grace time.Duration) error {
	return c.e.Restart(ctx, idOrName, grace)
}

// Pause implements server.Lifecycle.
func (c containers) Pause(ctx context.Context, idOrName string) error {
	return c.e.Pause(ctx, idOrName)
}

// Unpause implements server.Lifecycle.
func (c containers) Unpause(ctx context.Context, idOrName string) error {
	return c.e.Unpause(ctx, idOrName)
}

// Rename implements server.Lifecycle.
func (c containers) Rename(ctx context.Context, idOrName, name string) error {
	return c.e.Rename(ctx, idOrName, name)
}

// Update implements server.Lifecycle.
func (c containers) Update(ctx context.Context, idOrName string, u api.ContainerUpdate) error {
	change := engine.Change{Limits: u.Limits}
	if u.Restart != nil {
		policy, err := engine.ParseRestart(*u.Restart)
		if err != nil {
			return err
		}
		change.Restart = &policy
	}
	return c.e.Update(ctx, idOrName, change)
}

// Wait implements server.Lifecycle.
func (c containers) Wait(ctx context.Context, idOrName string) (api.Container, error) {
	ct, err := c.e.Wait(ctx, idOrName)
	return apiContainer(ct), err
}

// Attach implements server.Lifecycle.
func (c containers) Attach(ctx context.Context, idOrName string, st server.Streams) (int, error) {
	streams, stop := engineStreams(ctx, st)
	defer stop()
	ct, err := c.e.AttachNow(ctx, idOrName, streams)
	return ct.ExitCode, err
}

// Usage implements server.Lifecycle.
func (c containers) Usage(ctx context.Context, idOrName string) (api.Usage, error) {
	ct, err := c.e.Get(ctx, idOrName)
	if err != nil {
		return api.Usage{}, err
	}
	u, err := c.e.Usage(ctx, ct.ID)
	return api.Usage{ID: ct.ID, Name: ct.Name, At: u.At, CPU: u.CPU, MemoryBytes: u.MemoryBytes,
		MemoryLimitBytes: u.MemoryLimitBytes, PIDs: u.PIDs, Received: u.Received, Sent: u.Sent}, err
}

// Top implements server.Lifecycle.
func (c containers) Top(ctx context.Context, idOrName string) ([]api.Process, error) {
	processes, err := c.e.Top(ctx, idOrName)
	out := make([]api.Process, len(processes))
	for i, p := range processes {
		out[i] = api.Process(p)
	}
	return out, err
}
