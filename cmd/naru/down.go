package main

import (
	"context"

	"github.com/spf13/cobra"

	"naru/api"
	"naru/api/client"
	"naru/delivery"
)

func (c *cli) downCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "down", Short: "Stop an app", Args: between(0, 0),
		Long:    "Stop an app: drain and stop its instances and take its routes away. Releases and config stay, so that naru up or\nnaru rollback bring it back; volumes stay too, unless --volumes is given.",
		Example: "  naru down\n  naru down -a guestbook --volumes",
	}
	app, asJSON := c.appFlags(cmd), jsonFlag(cmd)
	detach := cmd.Flags().Bool("no-wait", false, "do not wait until everything has stopped")
	volumes := cmd.Flags().Bool("volumes", false, "remove the app's named volumes and the data in them")
	cmd.RunE = c.run(func(ctx context.Context, _ []string) error {
		ae, err := app.appEnv(ctx)
		if err != nil {
			return err
		}
		q := api.DownRequest{Volumes: *volumes, Detach: *detach}
		return c.change(ctx, ae, *asJSON, func(ctx context.Context, cl *client.Client, emit func(delivery.Event)) error {
			return cl.Down(ctx, ae, q, emit)
		})
	})
	return cmd
}
