package main

import (
	"errors"

	"github.com/spf13/cobra"

	"naru/engine/keeper"
	"naru/engine/rootless"
	"naru/ociruntime/command"
)

// ociCommand is the OCI runtime's command line, as a verb of this program.
func (c *cli) ociCommand() *cobra.Command {
	cmd := command.New(command.Options{In: c.in, Out: c.out, Err: c.err, Version: programVersion(),
		Root: rootless.RunDir(defaultRunDir) + "/oci", Init: keeper.Executable})
	eachCommand(cmd, func(cmd *cobra.Command) {
		run := cmd.RunE
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			err := run(cmd, args)
			var status command.Exit
			if errors.As(err, &status) {
				return exitStatus(status)
			}
			return err
		}
	})
	return cmd
}
