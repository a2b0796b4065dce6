package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"naru/api"
	"naru/api/client"
	"naru/naru"
)

func (c *cli) containerCommand(args []string) *cobra.Command {
	cmd := &cobra.Command{
		Use: "container", Short: "Containers, below the level of apps",
		Example: "  naru container run --rm busybox echo hello\n  naru container ls",
	}
	cmd.SetFlagErrorFunc(refuseAbsent)
	return noun(cmd, choose(args, commands{
		"run": c.containerRunCommand, "create": c.containerCreateCommand, "start": c.containerStartCommand,
		"stop": c.containerStopCommand, "restart": c.containerRestartCommand, "kill": c.containerKillCommand,
		"pause": c.containerPauseCommand, "unpause": c.containerUnpauseCommand, "wait": c.containerWaitCommand,
		"rm": c.containerRemoveCommand, "prune": c.containerPruneCommand, "rename": c.containerRenameCommand,
		"update": c.containerUpdateCommand, "ls": c.containerListCommand, "inspect": c.containerInspectCommand,
		"port": c.containerPortCommand, "top": c.containerTopCommand, "stats": c.containerStatsCommand,
		"logs": c.containerLogsCommand, "attach": c.containerAttachCommand, "exec": c.containerExecCommand, "cp": c.containerCopyCommand,
		"export": c.containerExportCommand, "diff": c.containerDiffCommand,
	})...)
}

func portsText(published []naru.PublishedPort) string {
	ports := make([]string, len(published))
	for i, p := range published {
		host := ""
		if p.HostIP.IsValid() {
			host = p.HostIP.String() + ":"
		}
		ports[i] = fmt.Sprintf("%s%d→%d/%s", host, p.HostPort, p.Port, p.Protocol)
	}
	return strings.Join(ports, " ")
}

func (c *cli) containerLogsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "logs CONTAINER", Short: "Show what a container prints", Args: between(1, 1),
		Long:    "Show what a container prints: its standard output on ours, its standard error on ours.",
		Example: "  naru container logs web\n  naru container logs -f -n 10 web", ValidArgsFunction: first(c.completeContainers(true)),
	}
	f := addLogFlags(cmd)
	cmd.RunE = c.run(func(ctx context.Context, args []string) error {
		o, err := f.options(time.Now())
		if err != nil {
			return err
		}
		cl, err := c.client()
		if err != nil {
			return err
		}
		return quietEnd(ctx, o.Follow, cl.ContainerLogs(ctx, args[0], o, func(e api.LogEntry) error {
			return c.printEntry(e, f.timestamps)
		}))
	})
	return cmd
}

// nanoseconds is docker's form of a line's time: all are of the same width.
const nanoseconds = "2006-01-02T15:04:05.000000000Z07:00"

// printEntry prints the entry as the container wrote it, where it wrote it; a line's time stands at its beginning.
func (c *cli) printEntry(e api.LogEntry, timestamps bool) error {
	w := c.out
	if e.Stream == "stderr" {
		w = c.err
	}
	if timestamps && e.Begin {
		if _, err := fmt.Fprint(w, e.Time.UTC().Format(nanoseconds), " "); err != nil {
			return err
		}
	}
	_, err := w.Write(e.Data)
	return err
}

func (c *cli) containerExecCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "exec CONTAINER COMMAND...", Short: "Run a command inside a running container", Args: between(2, -1),
		Long: "Run a command inside a running container. The exit code is the command's, unless it is detached: then it ends by\n" +
			"itself or with the container, and nobody sees what it prints.",
		Example: "  naru container exec web ls -l /\n  naru container exec -it web sh\n  naru container exec -d web ./reindex", ValidArgsFunction: first(c.completeContainers(false)),
	}
	var q api.ExecRequest
	execFlags(cmd, &q)
	env := cmd.Flags().StringArrayP("env", "e", nil, "more environment: `NAME=VALUE`, or NAME alone for our own value")
	envFiles := cmd.Flags().StringArray("env-file", nil, "`file` with a NAME=VALUE, or a NAME, a line")
	interactive := cmd.Flags().BoolP("interactive", "i", false, "with our standard input")
	detach := cmd.Flags().BoolP("detach", "d", false, "leave it running")
	cmd.RunE = c.runProcess(func(ctx context.Context, args []string) error {
		q.Command = commandOf(args[1:])
		var err error
		if q.Env, err = environment(*envFiles, *env, c.env); err != nil {
			return err
		}
		if *detach {
			cl, err := c.client()
			if err != nil {
				return err
			}
			return processEnd(0, cl.ExecContainerDetached(ctx, args[0], q))
		}
		return c.withProcess(ctx, *interactive, q.TTY, func(cl *client.Client, con *console) (int, error) {
			q.Size = con.size
			return cl.ExecContainer(ctx, args[0], q, con.Streams)
		})
	})
	return cmd
}

func (c *cli) containerStopCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "stop CONTAINER...", Short: "Stop containers", Args: between(1, -1),
		Long:    "Stop containers: their stop signal, then, when their time is up, SIGKILL.",
		Example: "  naru container stop web\n  naru container stop --time 1s web db", ValidArgsFunction: c.completeContainers(false),
	}
	grace := graceFlag(cmd)
	cmd.RunE = c.run(func(ctx context.Context, args []string) error {
		return c.forEach(args, func(cl *client.Client, name string) error { return cl.StopContainer(ctx, name, grace.d) })
	})
	return cmd
}

func (c *cli) containerRemoveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "rm CONTAINER...", Short: "Remove containers", Args: between(1, -1),
		Example: "  naru container rm web\n  naru container rm -f web db", ValidArgsFunction: c.completeContainers(true),
	}
	force := cmd.Flags().BoolP("force", "f", false, "kill those that run")
	cmd.Flags().BoolP("volumes", "v", false, "as docker's; volumes have names, and stay until naru volume rm")
	cmd.RunE = c.run(func(ctx context.Context, args []string) error {
		return c.forEach(args, func(cl *client.Client, name string) error { return cl.RemoveContainer(ctx, name, *force) })
	})
	return cmd
}

// forEach does the same to each name, prints the names it was done to, and returns the errors of all others.
func (c *cli) forEach(names []string, do func(cl *client.Client, name string) error) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	var failed []error
	for _, name := range names {
		err := do(cl, name)
		if err == nil {
			err = c.printf("%s\n", name)
		}
		failed = append(failed, err)
	}
	return errors.Join(failed...)
}
