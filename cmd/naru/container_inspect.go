package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"

	"naru/api"
	"naru/api/client"
	"naru/naru"
)

func (c *cli) containerInspectCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "inspect CONTAINER...", Short: "Show everything about containers, as JSON", Args: between(1, -1),
		Long:    "Show everything about containers, as a JSON array. The values of their environment are not shown: they may be secrets.",
		Example: "  naru container inspect web\n  naru container inspect -f '{{.State}} {{.Addr}}' web", ValidArgsFunction: c.completeContainers(true),
	}
	format := cmd.Flags().StringP("format", "f", "", "Go `template` to print instead")
	cmd.RunE = c.run(func(ctx context.Context, args []string) error {
		cl, err := c.client()
		if err != nil {
			return err
		}
		all := []api.Container{}
		var missing []error
		for _, name := range args {
			ct, err := cl.Container(ctx, name)
			if err != nil {
				missing = append(missing, err)
				continue
			}
			all = append(all, ct)
		}
		if *format == "" {
			err = c.printJSON(all)
		} else {
			err = printTemplate(c, *format, all)
		}
		return errors.Join(append(missing, err)...)
	})
	return cmd
}

func (c *cli) containerPortCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "port CONTAINER [PORT[/PROTOCOL]]", Short: "Show where a container's ports are published", Args: between(1, 2),
		Example: "  naru container port web\n  naru container port web 80", ValidArgsFunction: first(c.completeContainers(false)),
	}
	cmd.RunE = c.run(func(ctx context.Context, args []string) error {
		cl, err := c.client()
		if err != nil {
			return err
		}
		ct, err := cl.Container(ctx, args[0])
		if err != nil {
			return err
		}
		return c.printPorts(ct, strings.Join(args[1:], ""))
	})
	return cmd
}

func (c *cli) printPorts(ct api.Container, only string) error {
	found := only == ""
	for _, p := range ct.Published {
		inside := fmt.Sprintf("%d/%s", p.Port, p.Protocol)
		host := "0.0.0.0"
		if p.HostIP.IsValid() {
			host = p.HostIP.String()
		}
		line := fmt.Sprintf("%s -> %s:%d\n", inside, host, p.HostPort)
		if only != "" {
			if only != inside && only+"/tcp" != inside {
				continue
			}
			found, line = true, fmt.Sprintf("%s:%d\n", host, p.HostPort)
		}
		if err := c.printf("%s", line); err != nil {
			return err
		}
	}
	if !found {
		return naru.Errorf(naru.NotFound, "container %s does not publish port %s", ct.Name, only)
	}
	return nil
}

func (c *cli) containerTopCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "top CONTAINER", Short: "List the processes of a running container", Args: between(1, 1),
		Example: "  naru container top web", ValidArgsFunction: first(c.completeContainers(false)),
	}
	asJSON := jsonFlag(cmd)
	cmd.RunE = c.run(func(ctx context.Context, args []string) error {
		get := func(ctx context.Context, cl *client.Client) ([]api.Process, error) { return cl.Top(ctx, args[0]) }
		return ask(ctx, c, *asJSON, get, func(ps []api.Process) error {
			t := &table{header: []string{"PID", "INSIDE", "USER", "MEMORY", "CPU TIME", "COMMAND"}}
			for _, p := range ps {
				t.row(text(fmt.Sprint(p.PID)), text(fmt.Sprint(p.Inside)), text(fmt.Sprint(p.User)),
					text(units.BytesSize(float64(p.Memory))), text(p.CPU.Round(10*time.Millisecond).String()), text(p.Command))
			}
			return t.write(c.out, c.colour(c.out))
		})
	})
	return cmd
}
