package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"naru/api"
	"naru/naru"
)

func (c *cli) logsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "logs [SERVICE]", Short: "Show what an app's instances print", Args: between(0, 1),
		Example: "  naru logs                # everything, of all services\n  naru logs -f -n 20 web   # the last 20 lines of each instance, and what comes",
	}
	app, f := c.appFlags(cmd), addLogFlags(cmd)
	noPrefix := cmd.Flags().Bool("no-prefix", false, "do not put service and instance before each line")
	cmd.ValidArgsFunction = c.completeServices(app)
	cmd.RunE = c.run(func(ctx context.Context, args []string) error {
		o, err := f.options(time.Now())
		if err != nil {
			return err
		}
		if len(args) == 1 {
			o.Service = naru.ServiceName(args[0])
		}
		ae, err := app.appEnv(ctx)
		if err != nil {
			return err
		}
		cl, err := c.client()
		if err != nil {
			return err
		}
		p := &logPrinter{w: c.out, colour: c.colour(c.out), prefix: !*noPrefix, timestamps: f.timestamps}
		err = cl.AppLogs(ctx, ae, o, p.print)
		return quietEnd(ctx, o.Follow, p.end(err))
	})
	return cmd
}

// logFlags are those of everything that shows logs.
type logFlags struct {
	follow, timestamps bool
	tail               int
	since              string
}

func addLogFlags(cmd *cobra.Command) *logFlags {
	f := &logFlags{}
	cmd.Flags().BoolVarP(&f.follow, "follow", "f", false, "go on with what comes")
	cmd.Flags().IntVarP(&f.tail, "tail", "n", -1, "begin with the last `N` lines of each instance (default all)")
	cmd.Flags().StringVar(&f.since, "since", "", "begin at a `time`: 2006-01-02T15:04:05Z, or 10m for ten minutes ago")
	cmd.Flags().BoolVarP(&f.timestamps, "timestamps", "t", false, "put the time before each line")
	return f
}

func (f *logFlags) options(now time.Time) (api.LogOptions, error) {
	o := api.LogOptions{Follow: f.follow, Tail: f.tail}
	if f.since == "" {
		return o, nil
	}
	if d, err := time.ParseDuration(f.since); err == nil {
		o.Since = now.Add(-d)
		return o, nil
	}
	t, err := time.Parse(time.RFC3339, f.since)
	if err != nil {
		return o, naru.Errorf(naru.InvalidArgument, "--since %q: write a time as 2006-01-02T15:04:05Z, or a duration as 10m", f.since)
	}
	o.Since = t
	return o, nil
}

// quietEnd lets a Ctrl-C that ended a follow be no error: it is the way to end one.
func quietEnd(ctx context.Context, follow bool, err error) error {
	if follow && ctx.Err() != nil {
		return nil
	}
	return err
}
