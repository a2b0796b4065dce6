package main

import (
	"github.com/spf13/cobra"

	"naru/naru"
)

const rootLong = `naru takes a folder of code to a running, routed app on this machine: it builds images, mints releases, rolls them
out without losing a request, and keeps their containers running. A daemon does the work (naru server, as root); every
other command talks to it.

Exit codes:
  0        done
  1        failed; the message says why
  2        the command line, the app file or a name in them is wrong
  3        no daemon answers
  130      interrupted
  run, exec and container run/exec exit with the process's own code; when there is no process, container run
  exits as docker does: 125 the container could not be made, 126 its program could not be executed, 127 not found.

Environment:
  NARU_HOST   the daemon to talk to: unix:///path/of/naru.sock or http://host:port
  NO_COLOR    no colours`

// Groups of verbs in the help.
const (
	groupApps   = "apps"
	groupEngine = "engine"
	groupDaemon = "daemon"
)

func (c *cli) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "naru",
		Short: "From a folder of code to a running, routed app on one machine",
		Long:  rootLong,
		Example: `  sudo naru server &            # once
  naru up ./guestbook           # build, release, roll out
  naru logs -f                  # in the app's folder
  naru rollback`,
		SilenceErrors: true, SilenceUsage: true,
		PersistentPreRun: func(*cobra.Command, []string) { c.parsed = true },
	}
	root.PersistentFlags().StringVar(&c.host, "host", "", "daemon to talk to (default $NARU_HOST or unix://"+defaultRunDir+"/naru.sock)")
	root.AddGroup(&cobra.Group{ID: groupApps, Title: "Apps:"}, &cobra.Group{ID: groupEngine, Title: "Containers and images:"},
		&cobra.Group{ID: groupDaemon, Title: "naru itself:"})
	add(root, groupApps, c.upCommand(), c.appsCommand(), c.psCommand(), c.logsCommand(), c.execCommand(), c.runCommand(),
		c.scaleCommand(), c.configCommand(), c.releasesCommand(), c.rollbackCommand(), c.rolloutCommand(), c.downCommand())
	add(root, groupEngine, c.containerCommand(), c.networkCommand(), c.imageCommand(), c.volumeCommand(), c.ociCommand())
	add(root, groupDaemon, c.serverCommand(), c.systemCommand(), c.versionCommand())
	noun(root)
	root.SetHelpCommandGroupID(groupDaemon)
	root.SetCompletionCommandGroupID(groupDaemon)
	eachCommand(root, func(cmd *cobra.Command) { cmd.DisableFlagsInUseLine = true })
	return root
}

// eachCommand calls f for the command and all below it.
func eachCommand(cmd *cobra.Command, f func(*cobra.Command)) {
	f(cmd)
	for _, child := range cmd.Commands() {
		eachCommand(child, f)
	}
}

func add(parent *cobra.Command, group string, commands ...*cobra.Command) {
	for _, cmd := range commands {
		cmd.GroupID = group
		parent.AddCommand(cmd)
	}
}

// noun makes a command that only has verbs below it; a wrong verb is an error, not a help text with exit code 0.
func noun(cmd *cobra.Command, verbs ...*cobra.Command) *cobra.Command {
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return naru.Errorf(naru.InvalidArgument, "unknown command %q for %q%s", args[0], cmd.CommandPath(), suggestion(cmd, args[0]))
		}
		return nil
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	cmd.AddCommand(verbs...)
	return cmd
}

func suggestion(cmd *cobra.Command, word string) string {
	cmd.SuggestionsMinimumDistance = 2
	if near := cmd.SuggestionsFor(word); len(near) > 0 {
		return ": did you mean " + near[0] + "?"
	}
	return ""
}

// between accepts a number of arguments; most below 0 is any number.
func between(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return naru.Errorf(naru.InvalidArgument, "something is missing: %s", cmd.UseLine())
		case most >= 0 && len(args) > most:
			return naru.Errorf(naru.InvalidArgument, "%q is too much: %s", args[most], cmd.UseLine())
		}
		return nil
	}
}
