package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"

	"naru/api"
	"naru/api/client"
)

func (c *cli) systemCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "system", Short: "The machine: events, disk, repair",
		Example: "  naru system df\n  naru system fsck",
	}
	cmd.SetFlagErrorFunc(refuseAbsent)
	return noun(cmd, c.systemEventsCommand(), c.systemFsckCommand(), c.systemDiskCommand(), c.systemPruneCommand())
}

func (c *cli) systemEventsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "events", Short: "Show what happens to containers and volumes, as it happens", Args: between(0, 0),
		Long: `Show what happens to containers and volumes, as it happens. Of the past this daemon knows the last few hundred events: see
them with --since. Filters are KEY=VALUE, with the keys container, event, image, network, type and volume.`,
		Example: "  naru system events\n  naru system events --since 1h --until 1m --filter event=die",
	}
	asJSON := cmd.Flags().Bool("json", false, "one JSON value a line")
	since := cmd.Flags().String("since", "", "begin at a `time`: 2006-01-02T15:04:05Z, or 10m for ten minutes ago")
	until := cmd.Flags().String("until", "", "end at a `time`, likewise")
	filters := cmd.Flags().StringArrayP("filter", "f", nil, "only those that `KEY=VALUE` is true of")
	format := cmd.Flags().String("format", "", "Go `template` to print of each instead")
	cmd.RunE = c.run(func(ctx context.Context, _ []string) error {
		o, err := (&logFlags{since: *since, until: *until}).options(time.Now())
		if err != nil {
			return err
		}
		cl, err := c.client()
		if err != nil {
			return err
		}
		if _, err := selected(nil, *filters, eventFilters()); err != nil { // now, not with the first event
			return err
		}
		return quietEnd(ctx, true, cl.EngineEvents(ctx, o.Since, o.Until, func(ev api.EngineEvent) error {
			wanted, err := selected([]api.EngineEvent{ev}, *filters, eventFilters())
			switch {
			case err != nil || len(wanted) == 0:
				return err
			case *format != "":
				return printTemplate(c, *format, wanted)
			case *asJSON:
				return c.printJSONLine(ev)
			}
			return c.printf("%s\n", eventLine(ev))
		}))
	})
	return cmd
}

func eventFilters() filterKeys[api.EngineEvent] {
	is := func(kind string) func(api.EngineEvent, string) bool {
		return func(ev api.EngineEvent, v string) bool {
			return ev.Kind == kind && (ev.Name == v || v != "" && strings.HasPrefix(ev.ID, v))
		}
	}
	return filterKeys[api.EngineEvent]{
		"container": is("container"), "volume": is("volume"), "network": is("network"),
		"type":  func(ev api.EngineEvent, v string) bool { return ev.Kind == v },
		"event": func(ev api.EngineEvent, v string) bool { return ev.Action == v },
		"image": func(ev api.EngineEvent, v string) bool {
			image := ev.Attributes["image"]
			return image == v || strings.TrimSuffix(image, ":latest") == v
		},
	}
}

// eventLine is docker's form of an event.
func eventLine(ev api.EngineEvent) string {
	attributes := []string{"name=" + ev.Name}
	for _, key := range slices.Sorted(maps.Keys(ev.Attributes)) {
		attributes = append(attributes, key+"="+ev.Attributes[key])
	}
	return fmt.Sprintf("%s %s %s %s (%s)", ev.Time.Local().Format(time.RFC3339Nano), ev.Kind, ev.Action, ev.ID, strings.Join(attributes, ", "))
}

func (c *cli) printJSONLine(v any) error { return json.NewEncoder(c.out).Encode(v) }

func (c *cli) systemFsckCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "fsck", Short: "Look for what belongs to nothing: in the kernel, on disk, in the keeper", Args: between(0, 0),
		Long: `Look for what belongs to nothing: snapshots and folders of no container, cgroups, network devices, processes and
descriptors of none that runs. The exit code is 1 when something was found and is still there.`,
		Example: "  naru system fsck\n  naru system fsck --repair",
	}
	asJSON := jsonFlag(cmd)
	repair := cmd.Flags().Bool("repair", false, "remove what is found")
	cmd.RunE = c.run(func(ctx context.Context, _ []string) error {
		cl, err := c.client()
		if err != nil {
			return err
		}
		report, err := cl.Fsck(ctx, *repair)
		if err != nil {
			return err
		}
		if err := c.showFsck(report, *asJSON); err != nil {
			return err
		}
		if len(report.Found) > 0 && !report.Repaired {
			return exitStatus(exitFailed)
		}
		return nil
	})
	return cmd
}

func (c *cli) showFsck(report api.FsckReport, asJSON bool) error {
	if asJSON {
		return c.printJSON(report)
	}
	if len(report.Found) == 0 {
		c.note("Everything belongs to something.")
		return nil
	}
	verb := "found"
	if report.Repaired {
		verb = "removed"
	}
	for _, f := range report.Found {
		if err := c.printf("%s %s %s\n", verb, f.Kind, f.Name); err != nil {
			return err
		}
	}
	return nil
}

func (c *cli) systemDiskCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "df", Short: "Show what takes room on disk", Args: between(0, 0),
		Long:    "Show what takes room on disk: images (as if none shared a layer), what containers wrote and logged, volumes.",
		Example: "  naru system df",
	}
	asJSON := jsonFlag(cmd)
	format := cmd.Flags().String("format", "", "Go `template` to print of each kind instead")
	cmd.RunE = c.run(func(ctx context.Context, _ []string) error {
		get := func(ctx context.Context, cl *client.Client) ([]api.DiskUse, error) { return cl.DiskUsage(ctx) }
		return ask(ctx, c, *asJSON, get, func(all []api.DiskUse) error {
			if *format != "" {
				return printTemplate(c, *format, all)
			}
			t := &table{header: []string{"KIND", "TOTAL", "IN USE", "SIZE"}}
			for _, u := range all {
				t.row(cell{u.Kind, bold}, text(fmt.Sprint(u.Count)), text(fmt.Sprint(u.Active)), text(units.HumanSize(float64(u.Bytes))))
			}
			return t.write(c.out, c.colour(c.out))
		})
	})
	return cmd
}

func (c *cli) systemPruneCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "prune", Short: "Remove what is not used: stopped containers, build cache, content of no image", Args: between(0, 0),
		Long: `Remove what is not used: containers that do not run and belong to no app, the cache of builds, and content that no image,
container or release needs. With --volumes also the volumes that no container uses and that belong to no app, with
their data.`,
		Example: "  naru system prune\n  naru system prune --volumes",
	}
	withVolumes := cmd.Flags().Bool("volumes", false, "volumes, too, with their data")
	cmd.Flags().BoolP("force", "f", false, "as docker's; nothing is asked without it either")
	cmd.RunE = c.run(func(ctx context.Context, _ []string) error {
		cl, err := c.client()
		if err != nil {
			return err
		}
		steps := []func(context.Context) (api.Removed, error){
			func(ctx context.Context) (api.Removed, error) { return cl.PruneContainers(ctx) }, cl.PruneCache}
		if *withVolumes {
			steps = append(steps, cl.PruneVolumes)
		}
		return c.prune(ctx, steps)
	})
	return cmd
}

func (c *cli) prune(ctx context.Context, steps []func(context.Context) (api.Removed, error)) error {
	for _, step := range steps {
		removed, err := step(ctx)
		if err != nil {
			return err
		}
		for kind, names := range map[string][]string{"container": removed.Containers, "volume": removed.Volumes} {
			for _, name := range names {
				if err := c.printf("%s %s\n", kind, name); err != nil {
					return err
				}
			}
		}
		if removed.Freed > 0 {
			if err := c.printf("build cache %s\n", units.HumanSize(float64(removed.Freed))); err != nil {
				return err
			}
		}
	}
	return nil
}
