package main

import (
	"context"

	"github.com/spf13/cobra"
)

const upLong = `Bring an app to what its folder says: build the images of its services, mint a release of them, and roll the release
out. What serves keeps serving until the new instances are ready; when they do not become ready, it goes on serving
and the command fails with the reason.

The folder holds a compose.yaml, or only a Dockerfile, a Procfile or a Go module.

Ctrl-C during a build ends it and changes nothing; during a rollout it only stops watching.`

func (c *cli) upCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "up [DIR]", Short: "Build, release and roll out the app in a folder", Long: upLong, Args: between(0, 1),
		Example: "  naru up\n  naru up ./guestbook --app guestbook -e staging\n  naru up --json | jq .",
	}
	f := &upFlags{app: c.appFlags(cmd), asJSON: jsonFlag(cmd), detach: detachFlag(cmd)}
	cmd.RunE = c.run(func(ctx context.Context, args []string) error {
		dir := "."
		if len(args) == 1 {
			dir = args[0]
		}
		return c.up(ctx, f, dir)
	})
	return cmd
}

type upFlags struct {
	app            *appFlags
	asJSON, detach *bool
}
