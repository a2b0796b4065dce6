package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"

	"naru/api"
	"naru/api/client"
	"naru/naru"
)

// statsInterval is the time between two looks, over which the use of CPU is shown.
const statsInterval = time.Second

func (c *cli) containerStatsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "stats [CONTAINER...]", Short: "Show what running containers use", Args: between(0, -1),
		Long:    "Show what running containers use, again and again, or once with --no-stream. CPU is of one core: 200% is two.",
		Example: "  naru container stats\n  naru container stats --no-stream web", ValidArgsFunction: c.completeContainers(false),
	}
	asJSON := jsonFlag(cmd)
	once := cmd.Flags().Bool("no-stream", false, "once")
	cmd.RunE = c.run(func(ctx context.Context, args []string) error {
		cl, err := c.client()
		if err != nil {
			return err
		}
		before, err := usages(ctx, cl, args)
		for err == nil {
			if err = pause(ctx, statsInterval); err != nil {
				break
			}
			var now map[string]api.Usage
			if now, err = usages(ctx, cl, args); err != nil {
				break
			}
			if err = c.showStats(before, now, *asJSON, !*once); err == nil && *once {
				return nil
			}
			before = now
		}
		return quietEnd(ctx, !*once, err)
	})
	return cmd
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// usages asks for the named containers, or for all that run. One that ends meanwhile is left out.
func usages(ctx context.Context, cl *client.Client, names []string) (map[string]api.Usage, error) {
	all := len(names) == 0
	if all {
		list, err := cl.Containers(ctx, false)
		if err != nil {
			return nil, err
		}
		for _, ct := range list {
			names = append(names, ct.ID)
		}
	}
	out := map[string]api.Usage{}
	for _, name := range names {
		u, err := cl.ContainerUsage(ctx, name)
		if code := naru.CodeOf(err); all && (code == naru.NotFound || code == naru.FailedPrecondition) {
			continue
		}
		if err != nil {
			return nil, err
		}
		out[u.ID] = u
	}
	return out, nil
}

func (c *cli) showStats(before, now map[string]api.Usage, asJSON, live bool) error {
	if asJSON {
		return c.printJSON(sortedByName(now))
	}
	if live && isTerminal(c.out) {
		if err := c.printf("\x1b[H\x1b[2J"); err != nil { // the screen's beginning, cleared
			return err
		}
	}
	return statsTable(before, now).write(c.out, c.colour(c.out))
}

func statsTable(before, now map[string]api.Usage) *table {
	t := &table{header: []string{"ID", "NAME", "CPU", "MEMORY / LIMIT", "NETWORK IN / OUT", "PIDS"}}
	for _, u := range sortedByName(now) {
		cpu, limit := "--", "--"
		if b, ok := before[u.ID]; ok && u.At.After(b.At) {
			cpu = fmt.Sprintf("%.2f%%", 100*float64(u.CPU-b.CPU)/float64(u.At.Sub(b.At)))
		}
		if u.MemoryLimitBytes > 0 {
			limit = units.BytesSize(float64(u.MemoryLimitBytes))
		}
		t.row(text(shortID(u.ID)), cell{u.Name, bold}, text(cpu), text(units.BytesSize(float64(u.MemoryBytes))+" / "+limit),
			text(units.HumanSize(float64(u.Received))+" / "+units.HumanSize(float64(u.Sent))), text(fmt.Sprint(u.PIDs)))
	}
	return t
}

func sortedByName(all map[string]api.Usage) []api.Usage {
	return slices.SortedFunc(maps.Values(all), func(a, b api.Usage) int { return cmp.Compare(a.Name, b.Name) })
}
