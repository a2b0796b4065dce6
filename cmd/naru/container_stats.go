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
	var f statsFlags
	fs := cmd.Flags()
	fs.BoolVar(&f.json, "json", false, "print JSON")
	fs.BoolVar(&f.once, "no-stream", false, "once")
	fs.StringVar(&f.format, "format", "", "Go `template` to print of each instead")
	fs.BoolVar(&f.noTrunc, "no-trunc", false, "whole ids")
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
			if err = c.showStats(before, now, f); err == nil && f.once {
				return nil
			}
			before = now
		}
		return quietEnd(ctx, !f.once, err)
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

// statsFlags are those of container stats, named as docker's.
type statsFlags struct {
	json, once, noTrunc bool
	format              string
}

func (c *cli) showStats(before, now map[string]api.Usage, f statsFlags) error {
	if f.json {
		return c.printJSON(sortedByName(now))
	}
	if !f.once && isTerminal(c.out) {
		if err := c.printf("\x1b[H\x1b[2J"); err != nil { // the screen's beginning, cleared
			return err
		}
	}
	lines := statsLines(before, now, f.noTrunc)
	if f.format != "" {
		return printTemplate(c, f.format, lines)
	}
	return statsTable(lines).write(c.out, c.colour(c.out))
}

// statsLine is what a container uses, as people read it; fields are named as docker's templates have them.
type statsLine struct {
	ID, Name, CPUPerc, MemUsage, MemPerc, NetIO string
	PIDs                                        uint64
}

func statsLines(before, now map[string]api.Usage, wholeIDs bool) []statsLine {
	var lines []statsLine
	for _, u := range sortedByName(now) {
		l := statsLine{ID: idText(u.ID, wholeIDs), Name: u.Name, CPUPerc: "--", MemPerc: "--", PIDs: u.PIDs,
			MemUsage: units.BytesSize(float64(u.MemoryBytes)) + " / --", NetIO: units.HumanSize(float64(u.Received)) + " / " + units.HumanSize(float64(u.Sent))}
		if b, ok := before[u.ID]; ok && u.At.After(b.At) {
			l.CPUPerc = fmt.Sprintf("%.2f%%", 100*float64(u.CPU-b.CPU)/float64(u.At.Sub(b.At)))
		}
		if u.MemoryLimitBytes > 0 {
			l.MemUsage = units.BytesSize(float64(u.MemoryBytes)) + " / " + units.BytesSize(float64(u.MemoryLimitBytes))
			l.MemPerc = fmt.Sprintf("%.2f%%", 100*float64(u.MemoryBytes)/float64(u.MemoryLimitBytes))
		}
		lines = append(lines, l)
	}
	return lines
}

func statsTable(lines []statsLine) *table {
	t := &table{header: []string{"ID", "NAME", "CPU", "MEMORY / LIMIT", "NETWORK IN / OUT", "PIDS"}}
	for _, l := range lines {
		t.row(text(l.ID), cell{l.Name, bold}, text(l.CPUPerc), text(l.MemUsage), text(l.NetIO), text(fmt.Sprint(l.PIDs)))
	}
	return t
}

func sortedByName(all map[string]api.Usage) []api.Usage {
	return slices.SortedFunc(maps.Values(all), func(a, b api.Usage) int { return cmp.Compare(a.Name, b.Name) })
}
