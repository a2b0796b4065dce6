package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"naru/api"
	"naru/api/client"
)

func (c *cli) networkPathCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "path CONTAINER[:PORT[/udp]]", Short: "Show the way of a request to a container", Args: between(1, 1),
		Long: `Show the way of a request to a container, hop by hop, as the kernel has it at this moment: the interface and port of
the host, the rule that translates it with what it has counted, the bridge, both ends of the veth pair, and the
process that listens. What is missing says so: a request would end there.`,
		Example: "  naru network path web\n  naru network path web:80 --json", ValidArgsFunction: first(c.completeContainers(false)),
	}
	asJSON := jsonFlag(cmd)
	cmd.RunE = c.run(func(ctx context.Context, args []string) error {
		name, port, _ := strings.Cut(args[0], ":")
		get := func(ctx context.Context, cl *client.Client) (api.NetworkPath, error) {
			return cl.NetworkPath(ctx, name, port)
		}
		return ask(ctx, c, *asJSON, get, func(p api.NetworkPath) error { return c.showPath(p) })
	})
	return cmd
}

func (c *cli) showPath(p api.NetworkPath) error {
	for i, w := range p.Ways {
		if i > 0 {
			if err := c.printf("\n"); err != nil {
				return err
			}
		}
		if err := wayTable(p.Name, w).write(c.out, c.colour(c.out)); err != nil {
			return err
		}
	}
	return nil
}

// wayTable is a way, a hop a line, under what it leads to.
func wayTable(container string, w api.NetworkWay) *table {
	to := container
	if w.Port > 0 {
		to += ":" + strconv.Itoa(int(w.Port)) + "/" + w.Protocol
	}
	t := &table{header: []string{"HOP", "NAME", "TO " + to}}
	for _, h := range w.Hops {
		name, words, paint := h.Name, h.Text, plain
		if h.Index > 0 {
			name = fmt.Sprintf("%s (%d)", h.Name, h.Index)
		}
		if h.Connections != nil {
			words += fmt.Sprintf("; %d connections", *h.Connections)
		}
		if h.Missing {
			words, paint = "MISSING: "+words, red
		}
		t.row(cell{h.Kind, bold}, text(name), cell{words, paint})
	}
	return t
}
