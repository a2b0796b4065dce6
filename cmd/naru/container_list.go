package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"naru/api"
	"naru/api/client"
)

// listFlags are those of container ls, named as docker's.
type listFlags struct {
	all, quiet, latest, noTrunc bool
	last                        int
	filters                     []string
	format                      string
}

func (c *cli) containerListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "ls", Aliases: []string{"ps", "list"}, Short: "List containers", Args: between(0, 0),
		Long: `List containers: those that run, or with -a all.

Filters are KEY=VALUE, with the keys ancestor, exited, health, id, label, name, network, status and volume. Of one key
any value will do (of label all must), and every key must agree.

A --format is a Go template over docker's fields ID, Names, Image, Status, State, Ports, CreatedAt, RunningFor, Labels and
Label "KEY", and those that --json shows; with the word table before it, columns and a header; or json.`,
		Example: "  naru container ls\n  naru container ls -a --json\n  naru container ls -aq --filter status=exited\n  naru container ls --format 'table {{.Names}}\\t{{.Status}}'",
	}
	asJSON := jsonFlag(cmd)
	var f listFlags
	fs := cmd.Flags()
	fs.BoolVarP(&f.all, "all", "a", false, "those that do not run, too")
	fs.BoolVarP(&f.quiet, "quiet", "q", false, "ids only")
	fs.StringArrayVarP(&f.filters, "filter", "f", nil, "only those that `KEY=VALUE` is true of")
	fs.IntVarP(&f.last, "last", "n", 0, "the `N` that were created last, running or not")
	fs.BoolVarP(&f.latest, "latest", "l", false, "the one that was created last, running or not")
	fs.StringVar(&f.format, "format", "", "Go `template` to print of each instead")
	fs.BoolVar(&f.noTrunc, "no-trunc", false, "whole ids")
	cmd.RunE = c.run(func(ctx context.Context, _ []string) error {
		return ask(ctx, c, *asJSON, f.get, func(cs []api.ContainerSummary) error { return c.showContainers(cs, f) })
	})
	return cmd
}

func (f listFlags) get(ctx context.Context, cl *client.Client) ([]api.ContainerSummary, error) {
	if f.latest {
		f.last = 1
	}
	list, err := cl.Containers(ctx, f.all || f.last > 0, f.filters...)
	if f.last > 0 && len(list) > f.last {
		list = list[len(list)-f.last:]
	}
	return list, err
}

func (c *cli) showContainers(cs []api.ContainerSummary, f listFlags) error {
	if f.format != "" {
		return printTemplate(c, f.format, listedAll(cs, f.noTrunc))
	}
	if !f.quiet {
		return containersTable(cs, time.Now(), f.noTrunc).write(c.out, c.colour(c.out))
	}
	for _, ct := range cs {
		if err := c.printf("%s\n", idText(ct.ID, f.noTrunc)); err != nil {
			return err
		}
	}
	return nil
}

func idText(id string, whole bool) string {
	if whole {
		return id
	}
	return shortID(id)
}

func containersTable(containers []api.ContainerSummary, now time.Time, wholeIDs bool) *table {
	t := &table{header: []string{"ID", "NAME", "IMAGE", "STATE", "CREATED", "ADDRESS", "PORTS"}}
	for _, ct := range containers {
		addr := ""
		if ct.Addr.IsValid() && (ct.State == "running" || ct.State == "paused") {
			addr = ct.Addr.String()
		}
		t.row(text(idText(ct.ID, wholeIDs)), cell{ct.Name, bold}, text(ct.Image), containerStateCell(ct, now),
			text(ago(now, ct.CreatedAt)), text(addr), text(portsText(ct.Published)))
	}
	return t
}

func containerStateCell(ct api.ContainerSummary, now time.Time) cell {
	switch {
	case ct.State == "running" && ct.Health != nil:
		return cell{fmt.Sprintf("running (%s), started %s", ct.Health.Status, ago(now, ct.StartedAt)), healthColours[ct.Health.Status]}
	case ct.State == "running":
		return cell{"running, started " + ago(now, ct.StartedAt), green}
	case ct.State == "restarting":
		return cell{fmt.Sprintf("restarting (%s) %s", exitText(ct), ago(now, ct.FinishedAt)), yellow}
	case ct.State != "exited":
		return cell{ct.State, yellow}
	case ct.ExitCode != 0:
		return cell{fmt.Sprintf("exited (%s) %s", exitText(ct), ago(now, ct.FinishedAt)), red}
	}
	return cell{"exited (0) " + ago(now, ct.FinishedAt), dim}
}

var healthColours = map[string]colour{"starting": yellow, "healthy": green, "unhealthy": red}

// exitText is an exit status with its reason, where that says more.
func exitText(ct api.ContainerSummary) string {
	if ct.Reason == "" || ct.Reason == "exited" {
		return fmt.Sprint(ct.ExitCode)
	}
	return fmt.Sprintf("%d, %s", ct.ExitCode, ct.Reason)
}
