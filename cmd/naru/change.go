package main

import (
	"context"
	"encoding/json"

	"naru/api/client"
	"naru/delivery"
	"naru/naru"
)

// change runs a verb that changes an app, and shows its events: as JSON lines, or as people like them.
func (c *cli) change(ctx context.Context, ae naru.AppEnv, asJSON bool, do func(context.Context, *client.Client, func(delivery.Event)) error) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	var minted naru.ReleaseNumber
	show, end := c.progress(ae, asJSON)
	err = do(ctx, cl, func(e delivery.Event) {
		if e.Release != nil && e.Release.Rolling {
			minted = e.Release.Number
		}
		show(e)
	})
	end()
	if err != nil && ctx.Err() != nil {
		return c.interrupted(ctx, ae, minted)
	}
	return err
}

// progress returns what shows an event, and what is to be called after the last one.
func (c *cli) progress(ae naru.AppEnv, asJSON bool) (show func(delivery.Event), end func()) {
	if asJSON {
		lines := json.NewEncoder(c.out)
		return func(e delivery.Event) { _ = lines.Encode(e) }, func() {} // who closes our output wants no more of it
	}
	p := newProgress(c.out, ae, c.colour(c.out), width(c.out))
	return p.show, p.start()
}

// interrupted says what a Ctrl-C left behind.
func (c *cli) interrupted(ctx context.Context, ae naru.AppEnv, minted naru.ReleaseNumber) error {
	if minted == 0 {
		c.note("Interrupted: %s is as it was.", ae)
	} else {
		c.note("Detached: %s of %s goes on rolling out. Follow it with: naru rollout status --follow -a %s -e %s",
			minted, ae, ae.App, ae.Environment)
	}
	return exitStatus(exitInterrupted)
}
