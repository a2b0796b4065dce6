package main

import (
	"context"
	"errors"

	"naru/api/client"
	"naru/delivery/builder"
)

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
