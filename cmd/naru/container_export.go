package main

import (
	"github.com/spf13/cobra"

	"naru/api/client"
)

func (c *cli) containerExportCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "export CONTAINER", Short: "Write a container's files as a tar stream", Args: between(1, 1),
		Long: `Write a container's files as a tar stream, to our standard output or a file, whether it runs or not: those of its image
with what it wrote over them, and nothing of its volumes.`,
		Example: "  naru container export web > web.tar\n  naru container export web | naru image import - web:kept", ValidArgsFunction: first(c.completeContainers(true)),
	}
	c.savesStream(cmd, (*client.Client).ExportContainer)
	return cmd
}
