package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"naru/api"
	"naru/api/client"
	"naru/naru"
)

// completer answers the shell's question what could stand here.
type completer = func(cmd *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective)

// completionPatience bounds how long a Tab may take.
const completionPatience = time.Second

// complete asks the daemon for names; when it does not answer there are none.
func complete[T any](c *cli, list func(context.Context, *client.Client) ([]T, error), name func(T) string) completer {
	return func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		ctx, cancel := context.WithTimeout(contextOf(cmd), completionPatience)
		defer cancel()
		cl, err := c.client()
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		items, err := list(ctx, cl)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		var names []string
		for _, item := range items {
			if n := name(item); n != "" {
				names = append(names, n)
			}
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

func (c *cli) completeApps(cmd *cobra.Command, args []string, to string) ([]string, cobra.ShellCompDirective) {
	list := func(ctx context.Context, cl *client.Client) ([]api.App, error) { return cl.Apps(ctx) }
	return complete(c, list, func(a api.App) string { return string(a.App) })(cmd, args, to)
}

// completeServices offers the services that run, as the first argument only.
func (c *cli) completeServices(f *appFlags) completer {
	list := func(ctx context.Context, cl *client.Client) ([]naru.Instance, error) {
		ae, err := f.appEnv(ctx)
		if err != nil {
			return nil, err
		}
		return cl.Instances(ctx, ae)
	}
	return first(complete(c, list, func(i naru.Instance) string { return string(i.Service) }))
}

func (c *cli) completeContainers(all bool) completer {
	list := func(ctx context.Context, cl *client.Client) ([]api.ContainerSummary, error) {
		return cl.Containers(ctx, all)
	}
	return complete(c, list, func(ct api.ContainerSummary) string { return ct.Name })
}

func (c *cli) completeNetworks(cmd *cobra.Command, args []string, to string) ([]string, cobra.ShellCompDirective) {
	list := func(ctx context.Context, cl *client.Client) ([]api.Network, error) { return cl.Networks(ctx) }
	return complete(c, list, func(n api.Network) string { return n.Name })(cmd, args, to)
}

func (c *cli) completeNetworkThenContainer(cmd *cobra.Command, args []string, to string) ([]string, cobra.ShellCompDirective) {
	switch len(args) {
	case 0:
		return c.completeNetworks(cmd, args, to)
	case 1:
		return c.completeContainers(true)(cmd, args, to)
	}
	return nil, cobra.ShellCompDirectiveNoFileComp
}

func (c *cli) completeImages(cmd *cobra.Command, args []string, to string) ([]string, cobra.ShellCompDirective) {
	list := func(ctx context.Context, cl *client.Client) ([]api.Image, error) { return cl.ImageList(ctx) }
	return complete(c, list, func(i api.Image) string {
		if len(i.Names) == 0 {
			return ""
		}
		return i.Names[0]
	})(cmd, args, to)
}

// first completes the first argument and leaves the others to the shell.
func first(f completer) completer {
	return func(cmd *cobra.Command, args []string, to string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveDefault
		}
		return f(cmd, args, to)
	}
}

func contextOf(cmd *cobra.Command) context.Context {
	if ctx := cmd.Context(); ctx != nil {
		return ctx
	}
	return context.Background()
}
