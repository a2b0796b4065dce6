package main

import (
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"naru/naru"
)

const rootLong = `naru takes a folder of code to a running, routed app on this machine: it builds images, mints releases, rolls them
out without losing a request, and keeps their containers running. A daemon does the work (naru server); every
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

// root makes the tree of commands that the arguments need.
func (c *cli) root(args []string) *cobra.Command {
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
	noun(root, choose(args, commands{
		"up": in(groupApps, c.upCommand), "apps": in(groupApps, c.appsCommand), "ps": in(groupApps, c.psCommand),
		"logs": in(groupApps, c.logsCommand), "exec": in(groupApps, c.execCommand), "run": in(groupApps, c.runCommand),
		"scale": in(groupApps, c.scaleCommand), "config": in(groupApps, c.configCommand), "releases": in(groupApps, c.releasesCommand),
		"rollback": in(groupApps, c.rollbackCommand), "rollout": in(groupApps, c.rolloutCommand), "down": in(groupApps, c.downCommand),
		"container": in(groupEngine, func() *cobra.Command { return c.containerCommand(below("container", args)) }),
		"network":   in(groupEngine, c.networkCommand), "image": in(groupEngine, c.imageCommand),
		"volume": in(groupEngine, c.volumeCommand), "oci": in(groupEngine, c.ociCommand),
		"server": in(groupDaemon, c.serverCommand), "system": in(groupDaemon, c.systemCommand), "version": in(groupDaemon, c.versionCommand),
	})...)
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

// commands are made when they are asked for, by name: to make all ninety would take a millisecond of each command line.
type commands map[string]func() *cobra.Command

// choose makes the one command that the arguments begin with. For help, completion, flags in front and mistakes, all.
func choose(args []string, all commands) []*cobra.Command {
	if len(args) > 0 && all[args[0]] != nil {
		return []*cobra.Command{all[args[0]]()}
	}
	var made []*cobra.Command
	for _, name := range slices.Sorted(maps.Keys(all)) {
		made = append(made, all[name]())
	}
	return made
}

// below are the arguments after a command's name, if they begin with it.
func below(name string, args []string) []string {
	if len(args) > 0 && args[0] == name {
		return args[1:]
	}
	return nil
}

// in makes the command a member of a group of the help.
func in(group string, command func() *cobra.Command) func() *cobra.Command {
	return func() *cobra.Command {
		cmd := command()
		cmd.GroupID = group
		return cmd
	}
}

// noun makes a command that only has verbs below it; a wrong verb is an error, not a help text with exit code 0.
func noun(cmd *cobra.Command, verbs ...*cobra.Command) *cobra.Command {
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			if err := absentVerb(cmd, args[0]); err != nil {
				return err
			}
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
