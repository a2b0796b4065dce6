package main

import (
	"context"

	"github.com/spf13/cobra"

	"naru/api"
	"naru/api/client"
	"naru/naru"
)

func (c *cli) runCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "run SERVICE [-- COMMAND...]", Short: "Run a one-off process of the current release", Args: between(1, -1),
		Long:    "Run a one-off process with the image, config, volumes and network of a service of the current release, and another\ncommand. It gets no requests and leaves nothing behind. The exit code is the process's.",
		Example: "  naru run web -- ./migrate up\n  naru run -t web -- sh\n  naru run -a guestbook worker",
	}
	app := c.appFlags(cmd)
	cmd.Flags().SetInterspersed(false)
	var q api.RunRequest
	cmd.Flags().BoolVarP(&q.TTY, "tty", "t", false, "with a terminal")
	cmd.ValidArgsFunction = c.completeServices(app)
	cmd.RunE = c.runProcess(func(ctx context.Context, args []string) error {
		ae, err := app.appEnv(ctx)
		if err != nil {
			return err
		}
		q.Service, q.Command = naru.ServiceName(args[0]), commandOf(args[1:])
		return c.withProcess(ctx, true, q.TTY, func(cl *client.Client, con *console) (int, error) {
			q.Size = con.size
			return cl.Run(ctx, ae, q, con.Streams)
		})
	})
	return cmd
}
