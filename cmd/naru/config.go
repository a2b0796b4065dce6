package main

import (
	"context"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"naru/api"
	"naru/api/client"
	"naru/delivery"
	"naru/naru"
)

func (c *cli) configCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "config", Short: "Read and change an app's environment variables",
		Example: "  naru config list\n  naru config set LOG_LEVEL=debug\n  naru config unset LOG_LEVEL",
	}
	return noun(cmd, c.configSetCommand(), c.configUnsetCommand(), c.configListCommand())
}

func (c *cli) configSetCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "set KEY=VALUE...", Short: "Set variables, and roll the change out", Args: between(1, -1),
		Long: `Set variables, and roll the change out as a new release.

KEY without a value reads the value from standard input, hidden on a terminal: so a secret gets into no history
and no list of processes.`,
		Example: "  naru config set LOG_LEVEL=debug WORKERS=4\n  naru config set DATABASE_PASSWORD < password.txt",
	}
	return c.configChange(cmd, func(args []string) (q api.ConfigChange, err error) {
		q.Set, err = c.readVariables(args)
		return q, err
	})
}

func (c *cli) configUnsetCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "unset KEY...", Short: "Remove variables, and roll the change out", Args: between(1, -1),
		Example: "  naru config unset LOG_LEVEL",
	}
	return c.configChange(cmd, func(args []string) (api.ConfigChange, error) { return api.ConfigChange{Unset: args}, nil })
}

// configChange gives the command what set and unset share.
func (c *cli) configChange(cmd *cobra.Command, read func(args []string) (api.ConfigChange, error)) *cobra.Command {
	app, asJSON, detach := c.appFlags(cmd), jsonFlag(cmd), detachFlag(cmd)
	cmd.RunE = c.run(func(ctx context.Context, args []string) error {
		q, err := read(args)
		if err != nil {
			return err
		}
		q.Detach = *detach
		ae, err := app.appEnv(ctx)
		if err != nil {
			return err
		}
		return c.change(ctx, ae, *asJSON, func(ctx context.Context, cl *client.Client, emit func(delivery.Event)) error {
			return cl.ChangeConfig(ctx, ae, q, emit)
		})
	})
	return cmd
}

// readVariables reads KEY=VALUE arguments; the value of a KEY alone comes from standard input.
func (c *cli) readVariables(args []string) (map[string]string, error) {
	out := map[string]string{}
	asked := false
	for _, arg := range args {
		key, value, ok := strings.Cut(arg, "=")
		if !ok {
			if asked && !isTerminal(c.in) {
				return nil, naru.Errorf(naru.InvalidArgument, "standard input can give one value: write %s=VALUE", key)
			}
			asked = true
			var err error
			if value, err = c.readSecret(key); err != nil {
				return nil, err
			}
		}
		if _, twice := out[key]; twice {
			return nil, naru.Errorf(naru.InvalidArgument, "%s is there twice", key)
		}
		out[key] = value
	}
	return out, nil
}

func (c *cli) readSecret(key string) (string, error) {
	var b []byte
	var err error
	if f, ok := c.in.(*os.File); ok && isTerminal(f) {
		c.note("Value of %s (not shown):", key)
		b, err = term.ReadPassword(int(f.Fd()))
	} else {
		b, err = io.ReadAll(c.in)
	}
	if err != nil {
		return "", naru.Errorf(naru.Failed, "read the value of %s: %w", key, err)
	}
	return strings.TrimSuffix(string(b), "\n"), nil
}

func (c *cli) configListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "Show the variables with their values", Args: between(0, 0),
		Example: "  naru config list\n  naru config list --json",
	}
	app, asJSON := c.appFlags(cmd), jsonFlag(cmd)
	cmd.RunE = c.run(func(ctx context.Context, _ []string) error {
		ae, err := app.appEnv(ctx)
		if err != nil {
			return err
		}
		get := func(ctx context.Context, cl *client.Client) (naru.Config, error) { return cl.Config(ctx, ae) }
		return ask(ctx, c, *asJSON, get, func(config naru.Config) error {
			return configTable(config).write(c.out, c.colour(c.out))
		})
	})
	return cmd
}

func configTable(config naru.Config) *table {
	t := &table{header: []string{"KEY", "VALUE"}}
	for _, key := range slices.Sorted(maps.Keys(config.Variables)) {
		t.row(cell{key, bold}, text(quoted(config.Variables[key])))
	}
	return t
}

// quoted is the value as it is, or in Go's quotes when it would disturb a terminal or a table.
func quoted(value string) string {
	if printable(value) == value {
		return value
	}
	return strconv.Quote(value)
}
