package main

import (
	"context"

	"github.com/spf13/cobra"

	"naru/api"
	"naru/api/client"
)

func (c *cli) containerDiffCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "diff CONTAINER", Short: "List what a container wrote over its image", Args: between(1, 1),
		Long:    "List what a container wrote over its image: A a file or folder is new, C it was changed, D it is gone.",
		Example: "  naru container diff web", ValidArgsFunction: first(c.completeContainers(true)),
	}
	asJSON := jsonFlag(cmd)
	cmd.RunE = c.run(func(ctx context.Context, args []string) error {
		get := func(ctx context.Context, cl *client.Client) ([]api.FileChange, error) {
			return cl.ContainerChanges(ctx, args[0])
		}
		return ask(ctx, c, *asJSON, get, func(changes []api.FileChange) error {
			for _, change := range changes {
				if err := c.printf("%s %s\n", change.Kind, change.Path); err != nil {
					return err
				}
			}
			return nil
		})
	})
	return cmd
}
