package main

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"naru/api"
	"naru/api/client"
	"naru/naru"
)

// graceValue is the time between asking a process to end and killing it: seconds, as docker has it, or a duration.
type graceValue struct{ d *time.Duration }

// Set implements pflag.Value.
func (g *graceValue) Set(s string) error {
	d, err := time.ParseDuration(s)
	if seconds, nerr := strconv.Atoi(s); nerr == nil {
		d, err = time.Duration(seconds)*time.Second, nil
	}
	if err != nil || d < 0 {
		return errors.New("write seconds such as 10, or a duration such as 500ms")
	}
	g.d = &d
	return nil
}

// String implements pflag.Value.
func (g *graceValue) String() string {
	if g.d == nil {
		return ""
	}
	return g.d.String()
}

// Type implements pflag.Value.
func (g *graceValue) Type() string { return "time" }

func graceFlag(cmd *cobra.Command) *graceValue {
	g := &graceValue{}
	cmd.Flags().VarP(g, "time", "t", "`time` between the signal and SIGKILL: seconds, or 500ms (default the container's own, 10s)")
	cmd.Flags().Var(g, "timeout", "as --`time`")
	return g
}

// namesCommand is a verb that does the same to each container it is given.
func (c *cli) namesCommand(cmd *cobra.Command, all bool, do func(ctx context.Context, cl *client.Client, name string) error) *cobra.Command {
	cmd.Args, cmd.ValidArgsFunction = between(1, -1), c.completeContainers(all)
	cmd.RunE = c.run(func(ctx context.Context, args []string) error {
		return c.forEach(args, func(cl *client.Client, name string) error { return do(ctx, cl, name) })
	})
	return cmd
}

func (c *cli) containerRestartCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "restart CONTAINER...", Short: "Stop containers and start them again",
		Example: "  naru container restart web\n  naru container restart --time 1 web db",
	}
	grace := graceFlag(cmd)
	return c.namesCommand(cmd, true, func(ctx context.Context, cl *client.Client, name string) error {
		return cl.RestartContainer(ctx, name, grace.d)
	})
}

func (c *cli) containerKillCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "kill CONTAINER...", Short: "Send a signal to containers, SIGKILL unless told otherwise",
		Example: "  naru container kill web\n  naru container kill --signal HUP web",
	}
	signal := cmd.Flags().StringP("signal", "s", "KILL", "`signal` to send: a name or a number")
	return c.namesCommand(cmd, false, func(ctx context.Context, cl *client.Client, name string) error {
		return cl.KillContainer(ctx, name, *signal)
	})
}

func (c *cli) containerPauseCommand() *cobra.Command {
	return c.namesCommand(&cobra.Command{
		Use: "pause CONTAINER...", Short: "Freeze all processes of containers",
		Example: "  naru container pause web",
	}, false, func(ctx context.Context, cl *client.Client, name string) error { return cl.PauseContainer(ctx, name) })
}

func (c *cli) containerUnpauseCommand() *cobra.Command {
	return c.namesCommand(&cobra.Command{
		Use: "unpause CONTAINER...", Short: "Let frozen containers go on",
		Example: "  naru container unpause web",
	}, false, func(ctx context.Context, cl *client.Client, name string) error { return cl.UnpauseContainer(ctx, name) })
}

func (c *cli) containerWaitCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "wait CONTAINER...", Short: "Wait until containers have ended, and print their exit codes", Args: between(1, -1),
		Example: "  naru container wait job", ValidArgsFunction: c.completeContainers(false),
	}
	cmd.RunE = c.run(func(ctx context.Context, args []string) error {
		cl, err := c.client()
		if err != nil {
			return err
		}
		var failed []error
		for _, name := range args {
			ct, err := cl.WaitContainer(ctx, name)
			if err == nil {
				err = c.printf("%d\n", ct.ExitCode)
			}
			failed = append(failed, err)
		}
		return errors.Join(failed...)
	})
	return cmd
}

func (c *cli) containerRenameCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "rename CONTAINER NAME", Short: "Give a container another name", Args: between(2, 2),
		Example: "  naru container rename web old-web", ValidArgsFunction: first(c.completeContainers(true)),
	}
	cmd.RunE = c.run(func(ctx context.Context, args []string) error {
		cl, err := c.client()
		if err != nil {
			return err
		}
		return cl.RenameContainer(ctx, args[0], args[1])
	})
	return cmd
}

func (c *cli) containerUpdateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "update CONTAINER...", Short: "Change the limits and the restart policy of containers, also while they run",
		Example: "  naru container update -m 512m --cpus 1.5 web\n  naru container update --restart unless-stopped web",
	}
	var f limitFlags
	f.register(cmd.Flags())
	restart := cmd.Flags().String("restart", "", restartUsage)
	return c.namesCommand(cmd, true, func(ctx context.Context, cl *client.Client, name string) error {
		u, err := f.change(*restart)
		if err != nil {
			return err
		}
		return cl.UpdateContainer(ctx, name, u)
	})
}

// change is what an update of a container says; what is not said stays.
func (f *limitFlags) change(restart string) (api.ContainerUpdate, error) {
	var u api.ContainerUpdate
	var err error
	if f.limits.PIDs < 0 {
		return u, naru.Errorf(naru.InvalidArgument, "--pids-limit %d: a limit can change but not go away", f.limits.PIDs)
	}
	if u.Limits, err = f.read(); err != nil {
		return u, err
	}
	if restart != "" {
		u.Restart = &restart
	}
	if u == (api.ContainerUpdate{}) {
		return u, naru.Errorf(naru.InvalidArgument, "nothing to change: give a limit or a restart policy")
	}
	return u, nil
}

func (c *cli) containerPruneCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "prune", Short: "Remove all containers that do not run", Args: between(0, 0),
		Long:    "Remove all containers that do not run, with their logs and what they wrote. Instances of apps are not touched.",
		Example: "  naru container prune\n  naru container prune --filter label=ci",
	}
	filters := cmd.Flags().StringArray("filter", nil, "only those that `KEY=VALUE` is true of")
	cmd.Flags().BoolP("force", "f", false, "as docker's; nothing is asked without it either")
	cmd.RunE = c.run(func(ctx context.Context, _ []string) error {
		cl, err := c.client()
		if err != nil {
			return err
		}
		removed, err := cl.PruneContainers(ctx, *filters...)
		if err != nil {
			return err
		}
		return c.printLines(removed.Containers)
	})
	return cmd
}
