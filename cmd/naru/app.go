package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"naru/naru"
)

// appFlags say which app a verb is about.
type appFlags struct{ app, environment string }

// appFlags gives the command -a and -e.
func (c *cli) appFlags(cmd *cobra.Command) *appFlags {
	f := &appFlags{}
	cmd.Flags().StringVarP(&f.app, "app", "a", "", "app (default the one in this folder)")
	cmd.Flags().StringVarP(&f.environment, "env", "e", string(naru.Production), "environment of the app")
	must(cmd.RegisterFlagCompletionFunc("app", c.completeApps))
	return f
}

// appEnv is the app that the flags name, else the one in the current folder.
func (f *appFlags) appEnv(ctx context.Context) (naru.AppEnv, error) {
	ae := naru.AppEnv{App: naru.AppName(f.app), Environment: naru.EnvironmentName(f.environment)}
	if f.app == "" {
		app, err := folderApp(ctx)
		if err != nil {
			return ae, fmt.Errorf("find the app of this folder (name another with -a APP): %w", err)
		}
		ae.App = app
	}
	return ae, ae.Validate()
}

// must is for what can only fail when this program is written wrong.
func must(err error) {
	if err != nil {
		panic("naru: " + err.Error())
	}
}

func jsonFlag(cmd *cobra.Command) *bool {
	return cmd.Flags().Bool("json", false, "print JSON")
}

func detachFlag(cmd *cobra.Command) *bool {
	return cmd.Flags().Bool("no-wait", false, "return when the release is minted, do not wait for its rollout")
}
