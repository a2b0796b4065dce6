//go:build !front

package main

import (
	"context"
	"errors"
	"slices"

	"naru/api"
	"naru/api/client"
	"naru/delivery"
	"naru/delivery/builder"
	"naru/delivery/source"
	"naru/naru"
)

// folderApp is the app in the current folder.
func folderApp(ctx context.Context) (naru.AppName, error) {
	spec, err := source.Load(ctx, ".", source.Options{})
	return spec.App, err
}

// up brings an app to what the folder dir says.
func (c *cli) up(ctx context.Context, f *upFlags, dir string) error {
	spec, err := source.Load(ctx, dir, source.Options{App: naru.AppName(f.app.app)})
	if err != nil {
		return err
	}
	ae := naru.AppEnv{App: spec.App, Environment: naru.EnvironmentName(f.app.environment)}
	if err := ae.Validate(); err != nil {
		return err
	}
	return c.change(ctx, ae, *f.asJSON, func(ctx context.Context, cl *client.Client, emit func(delivery.Event)) error {
		return up(ctx, cl, dir, ae, api.UpRequest{Spec: spec, Detach: *f.detach}, emit)
	})
}

// up asks for the change, with a session beside it that serves the folder when something is to be built.
func up(ctx context.Context, cl *client.Client, dir string, ae naru.AppEnv, q api.UpRequest, emit func(delivery.Event)) error {
	if !slices.ContainsFunc(q.Spec.Services, func(s naru.ServiceSpec) bool { return s.Build != nil }) {
		return cl.Up(ctx, ae, q, emit)
	}
	return withSession(ctx, cl, dir, func(ctx context.Context, id string) error {
		q.Session = id
		return cl.Up(ctx, ae, q, emit)
	})
}

// withSession calls use with the id of a session through which the daemon reads the folder dir, and ends the session
// after it.
func withSession(ctx context.Context, cl *client.Client, dir string, use func(ctx context.Context, id string) error) error {
	s, err := builder.OpenSession(ctx, dir)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	served := make(chan struct{})
	go func() {
		defer close(served)
		if err := s.Run(ctx, cl.Session); err != nil && ctx.Err() == nil {
			cancel(err) // the build would wait for the folder in vain
		}
	}()
	err = use(ctx, s.ID())
	if cause := context.Cause(ctx); cause != nil && errors.Is(err, context.Canceled) {
		err = cause
	}
	cancel(nil)
	<-served
	return err
}
