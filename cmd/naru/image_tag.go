package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"naru/api"
	"naru/api/client"
)

func (c *cli) imageTagCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "tag IMAGE NAME", Short: "Give an image one more name", Args: between(2, 2),
		Example: "  naru image tag web:latest web:kept", ValidArgsFunction: first(c.completeImages),
	}
	cmd.RunE = c.run(func(ctx context.Context, args []string) error {
		cl, err := c.client()
		if err != nil {
			return err
		}
		return cl.TagImage(ctx, args[0], args[1])
	})
	return cmd
}

func (c *cli) imageLoadCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "load", Short: "Load images from what docker save wrote", Args: between(0, 0),
		Long:    "Load images from what docker save wrote, or an OCI layout, with the names that they have there.",
		Example: "  naru image load -i images.tar\n  docker save web | naru image load",
	}
	input := cmd.Flags().StringP("input", "i", "-", "`file` to read instead of our standard input")
	quiet := cmd.Flags().BoolP("quiet", "q", false, "print nothing")
	cmd.RunE = c.run(func(ctx context.Context, _ []string) error {
		archive, err := c.openArchive(*input)
		if err != nil {
			return err
		}
		defer func() { _ = archive.Close() }() // only read from
		get := func(ctx context.Context, cl *client.Client) ([]api.Image, error) {
			return cl.ImportImage(ctx, archive, "")
		}
		return ask(ctx, c, false, get, func(images []api.Image) error {
			if *quiet {
				return nil
			}
			return imagesTable(images, time.Now(), false).write(c.out, c.colour(c.out))
		})
	})
	return cmd
}
