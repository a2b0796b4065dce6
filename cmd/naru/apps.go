package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"naru/api"
	"naru/api/client"
	"naru/naru"
)

func (c *cli) appsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "apps", Short: "List apps", Args: between(0, 0),
		Example: "  naru apps\n  naru apps --json",
	}
	asJSON := jsonFlag(cmd)
	cmd.RunE = c.run(func(ctx context.Context, _ []string) error {
		list := func(ctx context.Context, cl *client.Client) ([]api.App, error) { return cl.Apps(ctx) }
		return ask(ctx, c, *asJSON, list, func(apps []api.App) error {
			return appsTable(apps, time.Now()).write(c.out, c.colour(c.out))
		})
	})
	return cmd
}

func appsTable(apps []api.App, now time.Time) *table {
	t := &table{header: []string{"APP", "RELEASE", "ROLLOUT", "READY", "DEPLOYED", "URL"}}
	for _, a := range apps {
		t.row(cell{a.String(), bold}, text(releaseText(a.Release)), rolloutCell(a.Rollout), readyCell(a.Ready, a.Wanted),
			text(ago(now, a.Deployed)), text(strings.Join(a.URLs, " ")))
	}
	return t
}

// releaseText is "v3", and "-" for none.
func releaseText(n naru.ReleaseNumber) string {
	if n == 0 {
		return "-"
	}
	return n.String()
}

func readyCell(ready, wanted int) cell {
	c := cell{fmt.Sprintf("%d/%d", ready, wanted), green}
	if ready < wanted {
		c.colour = yellow
	}
	return c
}

func rolloutCell(s naru.RolloutState) cell {
	switch s {
	case naru.RolloutDone:
		return cell{string(s), green}
	case naru.RolloutFailed:
		return cell{string(s), red}
	case naru.RolloutSuperseded:
		return cell{string(s), dim}
	}
	return cell{string(s), yellow}
}
