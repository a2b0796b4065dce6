package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"

	"naru/api"
	"naru/api/client"
	"naru/naru"
)

func (c *cli) imageCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "image", Short: "Images on this machine",
		Example: "  naru image ls\n  naru image import busybox.tar busybox",
	}
	cmd.SetFlagErrorFunc(refuseAbsent)
	return noun(cmd, c.imageListCommand(), c.imageRemoveCommand(), c.imageImportCommand(), c.imageInspectCommand(),
		c.imagePullCommand(), c.imageTagCommand(), c.imageLoadCommand())
}

func (c *cli) imageListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "ls", Aliases: []string{"list"}, Short: "List images", Args: between(0, 0),
		Long:    "List images. Filters are KEY=VALUE, with the keys dangling (true: it has no name) and reference (a name, with * in it).",
		Example: "  naru image ls\n  naru image ls -q --filter reference='debian*'",
	}
	asJSON := jsonFlag(cmd)
	var f shownFlags
	f.register(cmd.Flags(), "digests")
	cmd.Flags().BoolP("all", "a", false, "as docker's; there are no others")
	cmd.Flags().Bool("digests", false, "as docker's; they are always shown")
	cmd.RunE = c.run(func(ctx context.Context, _ []string) error {
		get := func(ctx context.Context, cl *client.Client) ([]api.Image, error) {
			list, err := cl.ImageList(ctx)
			if err != nil {
				return nil, err
			}
			return selected(list, f.filters, imageFilters())
		}
		return ask(ctx, c, *asJSON, get, func(images []api.Image) error {
			id := func(i api.Image) string { return digestText(i.Digest, f.noTrunc) }
			return show(c, f, images, id, func(images []api.Image) *table { return imagesTable(images, time.Now(), f.noTrunc) })
		})
	})
	return cmd
}

func imageFilters() filterKeys[api.Image] {
	return filterKeys[api.Image]{
		"dangling": func(i api.Image, v string) bool { return strconv.FormatBool(len(i.Names) == 0) == v },
		"reference": func(i api.Image, v string) bool {
			return slices.ContainsFunc(i.Names, func(name string) bool {
				repository, _ := splitLast(name)
				whole, _ := path.Match(v, name)
				without, _ := path.Match(v, repository)
				return whole || without
			})
		},
	}
}

func digestText(d naru.Digest, whole bool) string {
	if whole {
		return string(d)
	}
	return d.Short()
}

func imagesTable(images []api.Image, now time.Time, wholeIDs bool) *table {
	t := &table{header: []string{"NAME", "DIGEST", "SIZE", "CREATED"}}
	for _, i := range images {
		names := i.Names
		if len(names) == 0 {
			names = []string{"-"}
		}
		for _, name := range names {
			t.row(cell{name, bold}, text(digestText(i.Digest, wholeIDs)), text(units.HumanSize(float64(i.Size))), text(ago(now, i.CreatedAt)))
		}
	}
	return t
}

func (c *cli) imageRemoveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "rm IMAGE...", Short: "Remove images", Args: between(1, -1),
		Long:    "Remove images. A name given is taken away; the content goes with its last name, unless a container or a release\nneeds it. A digest takes all its names away.",
		Example: "  naru image rm busybox", ValidArgsFunction: c.completeImages,
	}
	force := forceFlag(cmd)
	cmd.RunE = c.run(func(ctx context.Context, args []string) error {
		return c.forEach(args, func(cl *client.Client, name string) error { return force.pardon(cl.RemoveImage(ctx, name)) })
	})
	return cmd
}

func (c *cli) imageImportCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "import FILE|- [NAME]", Short: "Import an image from an archive", Args: between(1, 2),
		Long: `Import an image from an archive, compressed or not: an OCI layout, what docker save writes, or the files of a root
filesystem, which then needs a NAME.`,
		Example: "  naru image import busybox.tar\n  debootstrap --variant=minbase stable root && tar -C root -c . | naru image import - debian",
	}
	asJSON := jsonFlag(cmd)
	cmd.RunE = c.run(func(ctx context.Context, args []string) error {
		archive, err := c.openArchive(args[0])
		if err != nil {
			return err
		}
		defer func() { _ = archive.Close() }() // only read from
		name := strings.Join(args[1:], "")
		get := func(ctx context.Context, cl *client.Client) ([]api.Image, error) {
			images, err := cl.ImportImage(ctx, archive, name)
			var answered *api.Error
			if errors.As(err, &answered) { // about the archive, not about the daemon
				err = fmt.Errorf("%s: %w", args[0], err)
			}
			return images, err
		}
		return ask(ctx, c, *asJSON, get, func(images []api.Image) error {
			return imagesTable(images, time.Now(), false).write(c.out, c.colour(c.out))
		})
	})
	return cmd
}

func (c *cli) openArchive(path string) (io.ReadCloser, error) {
	if path == "-" {
		if isTerminal(c.in) {
			return nil, naru.Errorf(naru.InvalidArgument, "standard input is a terminal: pipe an archive into it")
		}
		return io.NopCloser(c.in), nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, naru.Errorf(naru.InvalidArgument, "%w", err)
	}
	return f, nil
}

func (c *cli) imageInspectCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "inspect IMAGE...", Short: "Show everything about images, as JSON",
		Example: "  naru image inspect busybox\n  naru image inspect -f '{{.Digest}}' busybox", ValidArgsFunction: c.completeImages,
	}
	return inspectVerb(c, cmd, (*client.Client).Image)
}
