package main

import (
	"context"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"naru/api"
	"naru/api/client"
	"naru/delivery"
	"naru/naru"
)

func (c *cli) rollbackCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "rollback [vN]", Short: "Roll an earlier release out again", Args: between(0, 1),
		Long:    "Roll an earlier release out again: the one before the current, or the one named. It becomes a new release.",
		Example: "  naru rollback\n  naru rollback v3 -a guestbook",
	}
	app, asJSON, detach := c.appFlags(cmd), jsonFlag(cmd), detachFlag(cmd)
	cmd.RunE = c.run(func(ctx context.Context, args []string) error {
		q := api.RollbackRequest{Detach: *detach}
		if len(args) == 1 {
			var err error
			if q.To, err = parseRelease(args[0]); err != nil {
				return err
			}
		}
		ae, err := app.appEnv(ctx)
		if err != nil {
			return err
		}
		return c.change(ctx, ae, *asJSON, func(ctx context.Context, cl *client.Client, emit func(delivery.Event)) error {
			return cl.Rollback(ctx, ae, q, emit)
		})
	})
	return cmd
}

// parseRelease reads "v3" or "3".
func parseRelease(s string) (naru.ReleaseNumber, error) {
	n, err := strconv.Atoi(strings.TrimPrefix(s, "v"))
	if err != nil || n < 1 {
		return 0, naru.Errorf(naru.InvalidArgument, "release %q: write v and a number, such as v3", s)
	}
	return naru.ReleaseNumber(n), nil
}
