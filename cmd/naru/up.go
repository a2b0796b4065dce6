package main

import (
	"context"
	"slices"

	"github.com/spf13/cobra"

	"naru/api"
	"naru/api/client"
	"naru/delivery"
	"naru/delivery/source"
	"naru/naru"
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
	app, asJSON, detach := c.appFlags(cmd), jsonFlag(cmd), detachFlag(cmd)
	cmd.RunE = c.run(func(ctx context.Context, args []string) error {
		dir := "."
		if len(args) == 1 {
			dir = args[0]
		}
		spec, err := source.Load(ctx, dir, source.Options{App: naru.AppName(app.app)})
		if err != nil {
			return err
		}
		ae := naru.AppEnv{App: spec.App, Environment: naru.EnvironmentName(app.environment)}
		if err := ae.Validate(); err != nil {
			return err
		}
		return c.change(ctx, ae, *asJSON, func(ctx context.Context, cl *client.Client, emit func(delivery.Event)) error {
			return up(ctx, cl, dir, ae, api.UpRequest{Spec: spec, Detach: *detach}, emit)
		})
	})
	return cmd
}

// up asks for the change, with a session beside it that serves the folder when something is to be built.
func up(ctx context.Context, cl *client.Client, dir string, ae naru.AppEnv, q api.UpRequest, emit func(delivery.Event)) error {
	if !slices.ContainsFunc(q.Spec.Services, func(s naru.ServiceSpec) bool { return s.Build != nil }) {
		return cl.Up(ctx, ae, q, emit)
	}
	return withSession(ctx, cl, dir, func(ctx context.Context, id string) error {
		q.Session = id
		return cl.Up(ctx, ae, q, emit)
	})
}
