package main

import (
	"context"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"naru/api/client"
	"naru/naru"
)

func (c *cli) psCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "ps [APP]", Short: "List an app's running instances", Args: between(0, 1),
		Example:           "  naru ps                 # of the app in this folder\n  naru ps guestbook --json",
		ValidArgsFunction: first(c.completeApps),
	}
	app, asJSON := c.appFlags(cmd), jsonFlag(cmd)
	cmd.RunE = c.run(func(ctx context.Context, args []string) error {
		if len(args) == 1 {
			app.app = args[0]
		}
		ae, err := app.appEnv(ctx)
		if err != nil {
			return err
		}
		list := func(ctx context.Context, cl *client.Client) ([]naru.Instance, error) { return cl.Instances(ctx, ae) }
		return ask(ctx, c, *asJSON, list, func(is []naru.Instance) error {
			return instancesTable(is, time.Now()).write(c.out, c.colour(c.out))
		})
	})
	return cmd
}

func instancesTable(instances []naru.Instance, now time.Time) *table {
	t := &table{header: []string{"INSTANCE", "SERVICE", "RELEASE", "STATE", "RESTARTS", "STARTED", "ADDRESS", "REASON"}}
	for _, i := range instances {
		addr := ""
		if i.Addr.IsValid() {
			addr = i.Addr.String()
		}
		t.row(text(shortID(string(i.ID))), cell{string(i.Service), bold}, text(releaseText(i.Release)), stateCell(i.State),
			text(strconv.Itoa(i.Restarts)), text(ago(now, i.StartedAt)), text(addr), text(oneLine(i.Reason)))
	}
	return t
}

func stateCell(s naru.InstanceState) cell {
	switch s {
	case naru.InstanceReady:
		return cell{string(s), green}
	case naru.InstanceBackoff, naru.InstanceUnready:
		return cell{string(s), red}
	case naru.InstanceStopping:
		return cell{string(s), dim}
	}
	return cell{string(s), yellow}
}

// shortID is as much of an id as people need.
func shortID(id string) string { return id[:min(len(id), 12)] }
