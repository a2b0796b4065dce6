package main

import (
	"context"

	"github.com/spf13/cobra"

	"naru/naru"
)

func (c *cli) containerExportCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "export CONTAINER", Short: "Write a container's files as a tar stream", Args: between(1, 1),
		Long: `Write a container's files as a tar stream, to our standard output or a file, whether it runs or not: those of its image
with what it wrote over them, and nothing of its volumes.`,
		Example: "  naru container export web > web.tar\n  naru container export web | naru image import - web:kept", ValidArgsFunction: first(c.completeContainers(true)),
	}
	output := cmd.Flags().StringP("output", "o", "-", "`file` to write to")
	cmd.RunE = c.run(func(ctx context.Context, args []string) error {
		if *output == "-" && isTerminal(c.out) {
			return naru.Errorf(naru.InvalidArgument, "standard output is a terminal: name a file with -o, or pipe it on")
		}
		cl, err := c.client()
		if err != nil {
			return err
		}
		stream, err := cl.ExportContainer(ctx, args[0])
		if err != nil {
			return err
		}
		defer func() { _ = stream.Close() }() // only read from
		return c.save(stream, *output)
	})
	return cmd
}
