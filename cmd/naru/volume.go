package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"

	"naru/api"
	"naru/api/client"
	"naru/naru"
)

func (c *cli) volumeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "volume", Short: "Named volumes: data that outlives containers",
		Example: "  naru volume ls\n  naru volume export data > data.tar",
	}
	cmd.SetFlagErrorFunc(refuseAbsent)
	return noun(cmd, c.volumeListCommand(), c.volumeCreateCommand(), c.volumeInspectCommand(), c.volumeRemoveCommand(),
		c.volumePruneCommand(), c.volumeExportCommand(), c.volumeImportCommand())
}

func (c *cli) completeVolumes(cmd *cobra.Command, args []string, to string) ([]string, cobra.ShellCompDirective) {
	list := func(ctx context.Context, cl *client.Client) ([]api.Volume, error) { return cl.Volumes(ctx) }
	return complete(c, list, func(v api.Volume) string { return v.Name })(cmd, args, to)
}

func (c *cli) volumeListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "ls", Aliases: []string{"list"}, Short: "List volumes", Args: between(0, 0),
		Long:    "List volumes. Filters are KEY=VALUE, with the keys dangling (true: nothing uses it) and name.",
		Example: "  naru volume ls\n  naru volume ls -q --filter dangling=true",
	}
	asJSON := jsonFlag(cmd)
	var f shownFlags
	f.register(cmd.Flags(), "names")
	cmd.RunE = c.run(func(ctx context.Context, _ []string) error {
		get := func(ctx context.Context, cl *client.Client) ([]api.Volume, error) {
			list, err := cl.Volumes(ctx)
			if err != nil {
				return nil, err
			}
			return selected(list, f.filters, volumeFilters())
		}
		return ask(ctx, c, *asJSON, get, func(list []api.Volume) error {
			return show(c, f, list, func(v api.Volume) string { return v.Name }, volumesTable)
		})
	})
	return cmd
}

func volumeFilters() filterKeys[api.Volume] {
	return filterKeys[api.Volume]{
		"name":     func(v api.Volume, value string) bool { return strings.Contains(v.Name, value) },
		"dangling": func(v api.Volume, value string) bool { return strconv.FormatBool(len(v.UsedBy) == 0) == value },
	}
}

func volumesTable(list []api.Volume) *table {
	t := &table{header: []string{"NAME", "LIMIT", "CREATED", "USED BY"}}
	for _, v := range list {
		t.row(cell{v.Name, bold}, text(limitText(v.Limit)), text(ago(time.Now(), v.CreatedAt)), text(strings.Join(v.UsedBy, " ")))
	}
	return t
}

func limitText(l naru.DiskLimit) string {
	switch {
	case l.Bytes > 0:
		return units.BytesSize(float64(l.Bytes))
	case l.Inodes > 0:
		return fmt.Sprintf("%d files", l.Inodes)
	}
	return "-"
}

func (c *cli) volumeCreateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "create NAME...", Short: "Make volumes", Args: between(1, -1),
		Long:    "Make volumes. A container that names one which is not there makes it, too. With -o size=1g it holds no more than that,\nand with -o inodes=1000 no more files; that takes a data folder on ext4 or xfs with project quotas.",
		Example: "  naru volume create data\n  naru volume create -o size=1g data",
	}
	options := cmd.Flags().StringArrayP("opt", "o", nil, "`size=…|inodes=…`: a limit, such as size=1g")
	cmd.RunE = c.run(func(ctx context.Context, args []string) error {
		limit, err := parseDiskLimit("--opt", *options)
		if err != nil {
			return err
		}
		return c.forEach(args, func(cl *client.Client, name string) error {
			_, err := cl.CreateVolume(ctx, name, limit)
			return err
		})
	})
	return cmd
}

func (c *cli) volumeInspectCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "inspect VOLUME...", Short: "Show everything about volumes, as JSON",
		Example: "  naru volume inspect data\n  naru volume inspect -f '{{.Path}}' data", ValidArgsFunction: c.completeVolumes,
	}
	return inspectVerb(c, cmd, (*client.Client).Volume)
}

func (c *cli) volumeRemoveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "rm VOLUME...", Short: "Remove volumes, with their data", Args: between(1, -1),
		Example: "  naru volume rm data", ValidArgsFunction: c.completeVolumes,
	}
	force := forceFlag(cmd)
	cmd.RunE = c.run(func(ctx context.Context, args []string) error {
		return c.forEach(args, func(cl *client.Client, name string) error { return force.pardon(cl.RemoveVolume(ctx, name)) })
	})
	return cmd
}

func (c *cli) volumePruneCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "prune", Short: "Remove the volumes that nothing uses, with their data", Args: between(0, 0),
		Long:    "Remove the volumes that no container uses, with their data. Those of an app stay, also when it is down: naru down\n--volumes removes them.",
		Example: "  naru volume prune",
	}
	cmd.Flags().BoolP("force", "f", false, "as docker's; nothing is asked without it either")
	cmd.RunE = c.run(func(ctx context.Context, _ []string) error {
		cl, err := c.client()
		if err != nil {
			return err
		}
		removed, err := cl.PruneVolumes(ctx)
		if err != nil {
			return err
		}
		return c.printLines(removed.Volumes)
	})
	return cmd
}

func (c *cli) printLines(lines []string) error {
	for _, line := range lines {
		if err := c.printf("%s\n", line); err != nil {
			return err
		}
	}
	return nil
}

func (c *cli) volumeExportCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "export VOLUME", Short: "Write what is in a volume as a tar stream", Args: between(1, 1),
		Long:    "Write what is in a volume as a tar stream, to our standard output or a file. What is written to the volume meanwhile\nmay be in it or not: stop the container first where that matters.",
		Example: "  naru volume export data > data.tar\n  naru volume export -o data.tar data", ValidArgsFunction: first(c.completeVolumes),
	}
	c.savesStream(cmd, (*client.Client).ExportVolume)
	return cmd
}

// savesStream makes a command one that writes the stream of what it is given to a file, or to our standard output.
func (c *cli) savesStream(cmd *cobra.Command, export func(cl *client.Client, ctx context.Context, name string) (io.ReadCloser, error)) {
	output := cmd.Flags().StringP("output", "o", "-", "`file` to write to")
	cmd.RunE = c.run(func(ctx context.Context, args []string) error {
		if *output == "-" && isTerminal(c.out) {
			return naru.Errorf(naru.InvalidArgument, "standard output is a terminal: name a file with -o, or pipe it on")
		}
		cl, err := c.client()
		if err != nil {
			return err
		}
		stream, err := export(cl, ctx, args[0])
		if err != nil {
			return err
		}
		defer func() { _ = stream.Close() }() // only read from
		return c.save(stream, *output)
	})
}

// save writes a stream to a file, which is there only when all of it is, or to our standard output.
func (c *cli) save(stream io.Reader, file string) error {
	if file == "-" {
		_, err := io.Copy(c.out, stream)
		return err
	}
	f, err := os.Create(file + ".part")
	if err != nil {
		return naru.Errorf(naru.InvalidArgument, "%w", err)
	}
	_, err = io.Copy(f, stream)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		_ = os.Remove(f.Name()) // half a file, of which the error tells
		return err
	}
	return os.Rename(f.Name(), file)
}

func (c *cli) volumeImportCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "import VOLUME [FILE|-]", Short: "Fill a new or empty volume from a tar stream", Args: between(1, 2),
		Long:    "Fill a volume that is new or empty from a tar stream, as volume export writes it: all of it, or nothing.",
		Example: "  naru volume import data data.tar\n  naru volume export data | naru volume import copy",
	}
	cmd.RunE = c.run(func(ctx context.Context, args []string) error {
		file := "-"
		if len(args) > 1 {
			file = args[1]
		}
		archive, err := c.openArchive(file)
		if err != nil {
			return err
		}
		defer func() { _ = archive.Close() }() // only read from
		cl, err := c.client()
		if err != nil {
			return err
		}
		return cl.ImportVolume(ctx, args[0], archive)
	})
	return cmd
}
