//go:build !front

package main

import (
	"context"
	"errors"
	"time"

	"naru/api"
	"naru/delivery/builder"
	"naru/engine"
	"naru/engine/image"
)

// system is the machine's part of naru as the API shows it.
type system struct {
	e       *engine.Engine
	images  *image.Store
	builder *builder.Builder
}

// Events implements server.System.
func (s system) Events(ctx context.Context, since, until time.Time, f func(api.EngineEvent) error) error {
	if until.IsZero() {
		return s.e.Events(ctx, since, func(ev engine.Event) error { return f(api.EngineEvent(ev)) })
	}
	ctx, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	err := s.e.Events(ctx, since, func(ev engine.Event) error {
		if ev.Time.After(until) {
			return context.DeadlineExceeded
		}
		return f(api.EngineEvent(ev))
	})
	if errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	return err
}

// Fsck implements server.System.
func (s system) Fsck(ctx context.Context, repair bool) ([]api.Finding, error) {
	found, err := s.e.Fsck(ctx, repair)
	out := make([]api.Finding, len(found))
	for i, f := range found {
		out[i] = api.Finding(f)
	}
	return out, err
}

// DiskUsage implements server.System.
func (s system) DiskUsage(ctx context.Context) ([]api.DiskUse, error) {
	use, err := s.e.DiskUsage(ctx)
	out := make([]api.DiskUse, len(use))
	for i, u := range use {
		out[i] = api.DiskUse(u)
	}
	return out, err
}

// PruneCache implements server.System.
func (s system) PruneCache(ctx context.Context) (int64, error) {
	freed, err := s.builder.Prune(ctx, 0)
	if err != nil {
		return freed, err
	}
	return freed, s.images.Collect(ctx)
}
