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

func (c *cli) scaleCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "scale SERVICE=N...", Short: "Change how many instances services have", Args: between(1, -1),
		Long:    "Change how many instances services have. The number stays for later releases, whatever the app file says.",
		Example: "  naru scale web=3\n  naru scale -a guestbook web=2 worker=0",
	}
	app, asJSON, detach := c.appFlags(cmd), jsonFlag(cmd), detachFlag(cmd)
	cmd.RunE = c.run(func(ctx context.Context, args []string) error {
		services, err := parseScale(args)
		if err != nil {
			return err
		}
		ae, err := app.appEnv(ctx)
		if err != nil {
			return err
		}
		q := api.ScaleRequest{Services: services, Detach: *detach}
		return c.change(ctx, ae, *asJSON, func(ctx context.Context, cl *client.Client, emit func(delivery.Event)) error {
			return cl.Scale(ctx, ae, q, emit)
		})
	})
	return cmd
}

// parseScale reads web=3 and so on.
func parseScale(args []string) (map[naru.ServiceName]int, error) {
	out := map[naru.ServiceName]int{}
	for _, arg := range args {
		name, number, ok := strings.Cut(arg, "=")
		n, err := strconv.Atoi(number)
		if !ok || err != nil || n < 0 {
			return nil, naru.Errorf(naru.InvalidArgument, "%q: write SERVICE=N, such as web=3", arg)
		}
		service := naru.ServiceName(name)
		if err := service.Validate(); err != nil {
			return nil, err
		}
		if _, twice := out[service]; twice {
			return nil, naru.Errorf(naru.InvalidArgument, "service %s is there twice", service)
		}
		out[service] = n
	}
	return out, nil
}
