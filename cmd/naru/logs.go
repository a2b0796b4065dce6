package main

import (
	"context"
	"errors"
	"strconv"
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
	tail               tailValue
	since, until       string
}

// tailValue is a number of lines, or all as docker has it, which is -1.
type tailValue int

// Set implements pflag.Value.
func (v *tailValue) Set(s string) error {
	if s == "all" {
		*v = -1
		return nil
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		return errors.New("write a number of lines, or all")
	}
	*v = tailValue(max(n, -1))
	return nil
}

// String implements pflag.Value.
func (v *tailValue) String() string {
	if *v < 0 {
		return "all"
	}
	return strconv.Itoa(int(*v))
}

// Type implements pflag.Value.
func (v *tailValue) Type() string { return "lines" }

func addLogFlags(cmd *cobra.Command) *logFlags {
	f := &logFlags{tail: -1}
	cmd.Flags().BoolVarP(&f.follow, "follow", "f", false, "go on with what comes")
	cmd.Flags().VarP(&f.tail, "tail", "n", "begin with the last `N` lines of each instance")
	cmd.Flags().StringVar(&f.since, "since", "", "begin at a `time`: 2006-01-02T15:04:05Z, or 10m for ten minutes ago")
	cmd.Flags().StringVar(&f.until, "until", "", "end at a `time`, written as that of --since")
	cmd.Flags().BoolVarP(&f.timestamps, "timestamps", "t", false, "put the time before each line")
	return f
}

func (f *logFlags) options(now time.Time) (api.LogOptions, error) {
	o := api.LogOptions{Follow: f.follow, Tail: int(f.tail)}
	var err error
	if o.Since, err = parseMoment("--since", f.since, now); err != nil {
		return o, err
	}
	o.Until, err = parseMoment("--until", f.until, now)
	return o, err
}

// parseMoment reads a time, or how long ago it was; zero when nothing is said.
func parseMoment(flag, s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(s); err == nil {
		return now.Add(-d), nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return t, naru.Errorf(naru.InvalidArgument, "%s %q: write a time as 2006-01-02T15:04:05Z, or a duration as 10m", flag, s)
	}
	return t, nil
}

// quietEnd lets a Ctrl-C that ended a follow be no error: it is the way to end one.
func quietEnd(ctx context.Context, follow bool, err error) error {
	if follow && ctx.Err() != nil {
		return nil
	}
	return err
}
