package main

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"naru/api/client"
	"naru/naru"
)

func (c *cli) releasesCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "releases", Short: "List an app's releases, the newest first", Args: between(0, 0),
		Example: "  naru releases\n  naru releases -a guestbook -e staging --json",
	}
	app, asJSON := c.appFlags(cmd), jsonFlag(cmd)
	cmd.RunE = c.run(func(ctx context.Context, _ []string) error {
		ae, err := app.appEnv(ctx)
		if err != nil {
			return err
		}
		list := func(ctx context.Context, cl *client.Client) ([]naru.Release, error) { return cl.Releases(ctx, ae) }
		return ask(ctx, c, *asJSON, list, func(rs []naru.Release) error {
			return releasesTable(rs, time.Now()).write(c.out, c.colour(c.out))
		})
	})
	return cmd
}

func releasesTable(releases []naru.Release, now time.Time) *table {
	t := &table{header: []string{"RELEASE", "CREATED", "REASON", "CONFIG", "IMAGES"}}
	for _, r := range releases {
		t.row(cell{r.Number.String(), bold}, text(ago(now, r.CreatedAt)), text(oneLine(r.Reason)),
			text(strconv.Itoa(r.ConfigVersion)), text(imagesText(r)))
	}
	return t
}

func imagesText(r naru.Release) string {
	images := make([]string, len(r.Services))
	for i, s := range r.Services {
		images[i] = string(s.Name) + "=" + s.ImageDigest.Short()
	}
	return strings.Join(images, " ")
}

// oneLine is the first line of s, for a cell of a table.
func oneLine(s string) string {
	line, rest, _ := strings.Cut(strings.TrimSpace(s), "\n")
	if rest != "" {
		line += " …"
	}
	return line
}
