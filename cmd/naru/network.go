package main

import (
	"context"
	"net/netip"
	"strings"

	"github.com/spf13/cobra"

	"naru/api"
	"naru/api/client"
	"naru/naru"
)

func (c *cli) networkCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "network", Short: "Networks of containers, and the way of a request",
		Example: "  naru network create backend --internal\n  naru network ls\n  naru network path web:80",
	}
	cmd.SetFlagErrorFunc(refuseAbsent)
	return noun(cmd, c.networkCreateCommand(), c.networkListCommand(), c.networkInspectCommand(), c.networkRemoveCommand(),
		c.networkConnectCommand(), c.networkDisconnectCommand(), c.networkPruneCommand(), c.networkPathCommand())
}

func (c *cli) networkCreateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "create NAME", Short: "Make a network", Args: between(1, 1),
		Long: `Make a network. Its containers reach each other by name, and no container of another network reaches them but by
published ports. An internal one has no way to the world.

IPv6 addresses are unique local ones, which leave as the host's. Those of a --subnet6 that your router leads to this host
leave as they are.`,
		Example: "  naru network create backend\n  naru network create lab --subnet 10.20.0.0/24 --gateway 10.20.0.1 --internal",
	}
	var q api.NetworkCreate
	var subnet, gateway, subnet6 string
	fs := cmd.Flags()
	fs.StringVar(&subnet, "subnet", "", "`subnet` of its addresses, such as 10.20.0.0/24 (default the next free one)")
	fs.StringVar(&gateway, "gateway", "", "`address` of the host on it (default the subnet's first)")
	fs.StringVar(&subnet6, "subnet6", "", "IPv6 `subnet` of its addresses, such as 2001:db8:7::/64 (default a unique local one)")
	fs.BoolVar(&q.Internal, "internal", false, "without a way to the world")
	cmd.RunE = c.run(func(ctx context.Context, args []string) (err error) {
		q.Name = args[0]
		if q.Subnet, err = parsePrefix("--subnet", subnet); err != nil {
			return err
		}
		if q.Gateway, err = parseAddr("--gateway", gateway); err != nil {
			return err
		}
		if q.Subnet6, err = parsePrefix("--subnet6", subnet6); err != nil {
			return err
		}
		cl, err := c.client()
		if err != nil {
			return err
		}
		n, err := cl.CreateNetwork(ctx, q)
		if err != nil {
			return err
		}
		return c.printf("%s\n", n.Name)
	})
	return cmd
}

func (c *cli) networkListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "ls", Aliases: []string{"list"}, Short: "List networks", Args: between(0, 0),
		Long:    "List networks. Filters are KEY=VALUE, with the keys driver, id, name and type (custom or builtin).",
		Example: "  naru network ls\n  naru network ls --json",
	}
	asJSON := jsonFlag(cmd)
	var f shownFlags
	f.register(cmd.Flags(), "names")
	cmd.RunE = c.run(func(ctx context.Context, _ []string) error {
		get := func(ctx context.Context, cl *client.Client) ([]api.Network, error) {
			list, err := cl.Networks(ctx)
			if err != nil {
				return nil, err
			}
			return selected(list, f.filters, networkFilters())
		}
		return ask(ctx, c, *asJSON, get, func(list []api.Network) error {
			return show(c, f, list, func(n api.Network) string { return n.Name }, networksTable)
		})
	})
	return cmd
}

func networkFilters() filterKeys[api.Network] {
	return filterKeys[api.Network]{
		"name":   func(n api.Network, v string) bool { return strings.Contains(n.Name, v) },
		"id":     func(n api.Network, v string) bool { return n.Name == v },
		"driver": func(_ api.Network, v string) bool { return v == "bridge" },
		"type": func(n api.Network, v string) bool {
			return v == map[bool]string{true: "custom", false: "builtin"}[n.Custom]
		},
	}
}

func networksTable(networks []api.Network) *table {
	t := &table{header: []string{"NAME", "SUBNET", "GATEWAY", "IPV6", "BRIDGE", "RUNNING", ""}}
	for _, n := range networks {
		kind, six := "", ""
		if n.Internal {
			kind = "internal"
		}
		if n.Subnet6.IsValid() {
			six = n.Subnet6.String()
		}
		var names []string
		for _, ct := range n.Containers {
			names = append(names, ct.Name)
		}
		t.row(cell{n.Name, bold}, text(n.Subnet.String()), text(n.Gateway.String()), text(six), text(n.Bridge),
			text(strings.Join(names, " ")), cell{kind, yellow})
	}
	return t
}

func (c *cli) networkInspectCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "inspect NETWORK...", Short: "Show everything about networks, as JSON",
		Example: "  naru network inspect bridge\n  naru network inspect -f '{{.Subnet}}' bridge", ValidArgsFunction: c.completeNetworks,
	}
	return inspectVerb(c, cmd, (*client.Client).Network)
}

func (c *cli) networkRemoveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "rm NETWORK...", Short: "Remove networks", Args: between(1, -1),
		Long: "Remove networks that no container is on, running or not.", Example: "  naru network rm backend", ValidArgsFunction: c.completeNetworks,
	}
	force := forceFlag(cmd)
	cmd.RunE = c.run(func(ctx context.Context, args []string) error {
		return c.forEach(args, func(cl *client.Client, name string) error { return force.pardon(cl.RemoveNetwork(ctx, name)) })
	})
	return cmd
}

func (c *cli) networkConnectCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "connect NETWORK CONTAINER", Short: "Put a container on one more network", Args: between(2, 2),
		Long:    "Put a container on one more network: at once when it runs, and at each later start.",
		Example: "  naru network connect backend web --alias api", ValidArgsFunction: c.completeNetworkThenContainer,
	}
	var q api.NetworkConnect
	var ip string
	fs := cmd.Flags()
	fs.StringVar(&ip, "ip", "", "its `address` there (default the next free one)")
	fs.StringVar(&q.MAC, "mac-address", "", "its MAC `address` there")
	fs.StringArrayVar(&q.Aliases, "alias", nil, "one more `name` there")
	cmd.RunE = c.run(func(ctx context.Context, args []string) (err error) {
		q.Container = args[1]
		if q.IP, err = parseAddr("--ip", ip); err != nil {
			return err
		}
		cl, err := c.client()
		if err != nil {
			return err
		}
		return cl.ConnectNetwork(ctx, args[0], q)
	})
	return cmd
}

func (c *cli) networkDisconnectCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "disconnect NETWORK CONTAINER", Short: "Take a container off a network", Args: between(2, 2),
		Long:    "Take a container off a network, at once when it runs. Its published ports lead to the first network that it is left with.",
		Example: "  naru network disconnect backend web", ValidArgsFunction: c.completeNetworkThenContainer,
	}
	cmd.RunE = c.run(func(ctx context.Context, args []string) error {
		cl, err := c.client()
		if err != nil {
			return err
		}
		return cl.DisconnectNetwork(ctx, args[0], args[1])
	})
	return cmd
}

func (c *cli) networkPruneCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "prune", Short: "Remove the networks that no container is on", Args: between(0, 0),
		Long:    "Remove the networks that were made with network create and that no container is on, running or not.",
		Example: "  naru network prune",
	}
	cmd.Flags().BoolP("force", "f", false, "as docker's; nothing is asked without it either")
	cmd.RunE = c.run(func(ctx context.Context, _ []string) error {
		cl, err := c.client()
		if err != nil {
			return err
		}
		removed, err := cl.PruneNetworks(ctx)
		for _, name := range removed {
			if err := c.printf("%s\n", name); err != nil {
				return err
			}
		}
		return err
	})
	return cmd
}

// parseAddr reads a flag's address; empty is none.
func parseAddr(flag, s string) (netip.Addr, error) {
	if s == "" {
		return netip.Addr{}, nil
	}
	a, err := netip.ParseAddr(strings.Trim(s, "[]"))
	if err != nil {
		return a, naru.Errorf(naru.InvalidArgument, "%s %q: write an IP address", flag, s)
	}
	return a, nil
}

func parsePrefix(flag, s string) (netip.Prefix, error) {
	if s == "" {
		return netip.Prefix{}, nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return p, naru.Errorf(naru.InvalidArgument, "%s %q: write a subnet such as 10.20.0.0/24", flag, s)
	}
	return p, nil
}
