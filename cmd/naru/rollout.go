package main

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"naru/api"
	"naru/api/client"
	"naru/delivery"
)

func (c *cli) rolloutCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "rollout", Short: "Look at the move from one release to another",
		Example: "  naru rollout status\n  naru rollout status --follow",
	}
	return noun(cmd, c.rolloutStatusCommand())
}

func (c *cli) rolloutStatusCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "status", Short: "Show an app's newest rollout and its instances", Args: between(0, 0),
		Example: "  naru rollout status\n  naru rollout status --follow -a guestbook",
	}
	app, asJSON := c.appFlags(cmd), jsonFlag(cmd)
	follow := cmd.Flags().BoolP("follow", "f", false, "watch it until it has ended; fail when it fails")
	cmd.RunE = c.run(func(ctx context.Context, _ []string) error {
		ae, err := app.appEnv(ctx)
		if err != nil {
			return err
		}
		if *follow {
			return c.change(ctx, ae, *asJSON, func(ctx context.Context, cl *client.Client, emit func(delivery.Event)) error {
				return cl.FollowRollout(ctx, ae, emit)
			})
		}
		get := func(ctx context.Context, cl *client.Client) (api.RolloutStatus, error) { return cl.Rollout(ctx, ae) }
		return ask(ctx, c, *asJSON, get, func(s api.RolloutStatus) error { return c.showRollout(s) })
	})
	return cmd
}

func (c *cli) showRollout(s api.RolloutStatus) error {
	now := time.Now()
	coloured := c.colour(c.out)
	state := cell{rolloutText(s.Rollout), rolloutCell(s.State).colour}
	if err := c.printf("%s  %s, %s\n", s.AppEnv, state.paint(coloured), ago(now, s.StepSince)); err != nil {
		return err
	}
	if s.Reason != "" {
		if err := c.printf("%s\n", strings.Join(append([]string{s.Reason}, s.LogLines...), "\n  ")); err != nil {
			return err
		}
	}
	if len(s.Instances) == 0 {
		return nil
	}
	return instancesTable(s.Instances, now).write(c.out, coloured)
}
