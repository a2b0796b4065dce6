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
)

func (c *cli) containerCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "container", Short: "Containers, below the level of apps",
		Example: "  naru container run --rm busybox echo hello\n  naru container ls",
	}
	return noun(cmd, c.containerRunCommand(), c.containerListCommand(), c.containerLogsCommand(), c.containerExecCommand(),
		c.containerStopCommand(), c.containerRemoveCommand())
}

func (c *cli) containerListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "ls", Aliases: []string{"ps", "list"}, Short: "List containers", Args: between(0, 0),
		Example: "  naru container ls\n  naru container ls -a --json",
	}
	asJSON := jsonFlag(cmd)
	all := cmd.Flags().BoolP("all", "a", false, "those that do not run, too")
	cmd.RunE = c.run(func(ctx context.Context, _ []string) error {
		get := func(ctx context.Context, cl *client.Client) ([]api.Container, error) { return cl.Containers(ctx, *all) }
		return ask(ctx, c, *asJSON, get, func(cs []api.Container) error {
			return containersTable(cs, time.Now()).write(c.out, c.colour(c.out))
		})
	})
	return cmd
}

func containersTable(containers []api.Container, now time.Time) *table {
	t := &table{header: []string{"ID", "NAME", "IMAGE", "STATE", "CREATED", "ADDRESS", "PORTS"}}
	for _, ct := range containers {
		addr := ""
		if ct.Addr.IsValid() && ct.State == "running" {
			addr = ct.Addr.String()
		}
		t.row(text(shortID(ct.ID)), cell{ct.Name, bold}, text(ct.Spec.Image), containerStateCell(ct, now),
			text(ago(now, ct.CreatedAt)), text(addr), text(portsText(ct)))
	}
	return t
}

func containerStateCell(ct api.Container, now time.Time) cell {
	switch {
	case ct.State == "running":
		return cell{"running, started " + ago(now, ct.StartedAt), green}
	case ct.State != "exited":
		return cell{ct.State, yellow}
	case ct.OOMKilled:
		return cell{fmt.Sprintf("exited (%d, out of memory) %s", ct.ExitCode, ago(now, ct.FinishedAt)), red}
	case ct.ExitCode != 0:
		return cell{fmt.Sprintf("exited (%d) %s", ct.ExitCode, ago(now, ct.FinishedAt)), red}
	}
	return cell{"exited (0) " + ago(now, ct.FinishedAt), dim}
}

func portsText(ct api.Container) string {
	ports := make([]string, len(ct.Spec.Ports))
	for i, p := range ct.Spec.Ports {
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

// printEntry prints the entry as the container wrote it, where it wrote it.
func (c *cli) printEntry(e api.LogEntry, timestamps bool) error {
	w := c.out
	if e.Stream == "stderr" {
		w = c.err
	}
	if timestamps {
		if _, err := fmt.Fprint(w, e.Time.Local().Format(time.RFC3339), " "); err != nil {
			return err
		}
	}
	_, err := w.Write(e.Data)
	return err
}

func (c *cli) containerExecCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "exec CONTAINER COMMAND...", Short: "Run a command inside a running container", Args: between(2, -1),
		Long:    "Run a command inside a running container. The exit code is the command's.",
		Example: "  naru container exec web ls -l /\n  naru container exec -it web sh", ValidArgsFunction: first(c.completeContainers(false)),
	}
	var q api.ExecRequest
	execFlags(cmd, &q)
	cmd.Flags().StringArrayVarP(&q.Env, "env", "e", nil, "more environment: `NAME=VALUE`")
	interactive := cmd.Flags().BoolP("interactive", "i", false, "with our standard input")
	cmd.RunE = c.runProcess(func(ctx context.Context, args []string) error {
		q.Command = commandOf(args[1:])
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
	grace := cmd.Flags().Duration("time", 0, "time between the signal and SIGKILL (default the container's own, 10s)")
	cmd.RunE = c.run(func(ctx context.Context, args []string) error {
		return c.forEach(args, func(cl *client.Client, name string) error { return cl.StopContainer(ctx, name, *grace) })
	})
	return cmd
}

func (c *cli) containerRemoveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "rm CONTAINER...", Short: "Remove containers", Args: between(1, -1),
		Example: "  naru container rm web\n  naru container rm -f web db", ValidArgsFunction: c.completeContainers(true),
	}
	force := cmd.Flags().BoolP("force", "f", false, "kill those that run")
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
