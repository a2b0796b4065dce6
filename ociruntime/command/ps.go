package command

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"naru/naru"
	"naru/ociruntime"
)

func (c *face) psCommand(f *globals) *cobra.Command {
	cmd := &cobra.Command{Use: "ps [FLAGS] ID [PS OPTIONS...]", Short: "Show the processes of a container, by their ids on the host", Args: between(1, -1)}
	cmd.Flags().SetInterspersed(false) // what follows ID is for the machine's ps
	format := formatFlags(cmd)
	cmd.RunE = c.simply(f, func(ctx context.Context, r *ociruntime.Runtime, args []string) error {
		asJSON, err := format()
		if err != nil {
			return err
		}
		pids, err := r.Processes(args[0])
		switch {
		case err != nil:
			return err
		case asJSON:
			return json.NewEncoder(c.Out).Encode(pids)
		case len(args) > 1:
			return c.psOf(ctx, pids, args[1:])
		}
		return c.psTable(pids)
	})
	return cmd
}

func (c *face) psTable(pids []int) error {
	t := tabwriter.NewWriter(c.Out, 0, 0, 3, ' ', 0)
	_, _ = fmt.Fprintln(t, "PID\tCMD") // errors are Flush's
	for _, pid := range pids {
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err != nil {
			continue // it has ended
		}
		_, _ = fmt.Fprintf(t, "%d\t%s\n", pid, strings.TrimSpace(strings.ReplaceAll(string(line), "\x00", " ")))
	}
	return t.Flush()
}

// psOf prints the head of what the machine's ps says, and the lines that are about some processes.
func (c *face) psOf(ctx context.Context, pids []int, options []string) error {
	cmd := exec.CommandContext(ctx, "ps", options...)
	cmd.Stderr = c.Err
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("run ps: %w", err)
	}
	head, rest, _ := bytes.Cut(out, []byte("\n"))
	column := slices.Index(strings.Fields(string(head)), "PID")
	if column < 0 {
		return naru.Errorf(naru.InvalidArgument, "ps %s shows no column PID to find the container's processes by", strings.Join(options, " "))
	}
	if err := c.printf("%s\n", head); err != nil {
		return err
	}
	for line := range bytes.Lines(rest) {
		fields := bytes.Fields(line)
		if len(fields) <= column {
			continue
		}
		if pid, err := strconv.Atoi(string(fields[column])); err == nil && slices.Contains(pids, pid) {
			if err := c.printf("%s", line); err != nil {
				return err
			}
		}
	}
	return nil
}
