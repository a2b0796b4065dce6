package main

import (
	"context"
	"runtime/debug"

	"github.com/spf13/cobra"

	"naru/api"
	"naru/api/client"
)

func (c *cli) versionCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "version", Short: "Show the versions of this program and of the daemon", Args: between(0, 0),
		Example: "  naru version\n  naru version --client",
	}
	alone := cmd.Flags().Bool("client", false, "only this program's: do not ask the daemon")
	cmd.RunE = c.run(func(ctx context.Context, _ []string) error {
		if err := c.printf("naru    %s (API %s)\n", programVersion(), api.Version); err != nil || *alone {
			return err
		}
		ask1 := func(ctx context.Context, cl *client.Client) (api.VersionInfo, error) { return cl.Version(ctx) }
		return ask(ctx, c, false, ask1, func(v api.VersionInfo) error {
			return c.printf("daemon  %s (API %s, pid %d)\n", v.Version, v.API, v.PID)
		})
	})
	return cmd
}

// version is what the program was linked with (see Makefile).
var version string

// programVersion is version, or else the module's, or the commit's that the program was built of.
func programVersion() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return s.Value[:min(len(s.Value), 12)]
		}
	}
	return "development"
}
