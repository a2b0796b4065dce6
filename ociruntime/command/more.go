package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/docker/go-units"
	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/spf13/cobra"

	"naru/naru"
	"naru/ociruntime"
)

func (c *face) listCommand(f *globals) *cobra.Command {
	cmd := &cobra.Command{Use: "list [FLAGS]", Short: "Show the containers of the root", Args: between(0, 0)}
	format := formatFlags(cmd)
	quiet := cmd.Flags().BoolP("quiet", "q", false, "only their ids")
	cmd.RunE = c.simply(f, func(_ context.Context, r *ociruntime.Runtime, _ []string) error {
		asJSON, err := format()
		if err != nil {
			return err
		}
		all, err := r.List()
		if err != nil {
			return err
		}
		if asJSON {
			return json.NewEncoder(c.Out).Encode(all)
		}
		t := tabwriter.NewWriter(c.Out, 0, 0, 3, ' ', 0)
		_, _ = fmt.Fprintln(t, "ID\tPID\tSTATUS\tBUNDLE\tCREATED\tOWNER") // errors are Flush's
		for _, s := range all {
			if *quiet {
				if err := c.printf("%s\n", s.ID); err != nil {
					return err
				}
				continue
			}
			_, _ = fmt.Fprintf(t, "%s\t%d\t%s\t%s\t%s\t%s\n", s.ID, s.PID, s.Status, s.Bundle, s.Created.Format(time.RFC3339Nano), s.Owner)
		}
		if *quiet {
			return nil
		}
		return t.Flush()
	})
	return cmd
}

// limitFlag is a flag of update and the field that it sets.
type limitFlag struct {
	name, help string
	bytes      bool // may be written with a unit
	set        func(r *specs.LinuxResources, v string, n int64)
}

func limitFlags() []limitFlag {
	ptr := func(n int64) *int64 { return &n }
	uptr := func(n int64) *uint64 { u := uint64(n); return &u }
	return []limitFlag{
		{"memory", "memory limit", true, func(r *specs.LinuxResources, _ string, n int64) { r.Memory.Limit = ptr(n) }},
		{"memory-reservation", "memory that is left alone when memory is short", true, func(r *specs.LinuxResources, _ string, n int64) { r.Memory.Reservation = ptr(n) }},
		{"memory-swap", "memory and swap together, -1: no limit", true, func(r *specs.LinuxResources, _ string, n int64) { r.Memory.Swap = ptr(n) }},
		{"cpu-period", "microseconds", false, func(r *specs.LinuxResources, _ string, n int64) { r.CPU.Period = uptr(n) }},
		{"cpu-quota", "microseconds in each period, -1: no limit", false, func(r *specs.LinuxResources, _ string, n int64) { r.CPU.Quota = ptr(n) }},
		{"cpu-rt-period", "microseconds, of real-time processes on cgroup v1", false, func(r *specs.LinuxResources, _ string, n int64) { r.CPU.RealtimePeriod = uptr(n) }},
		{"cpu-rt-runtime", "microseconds in each of these", false, func(r *specs.LinuxResources, _ string, n int64) { r.CPU.RealtimeRuntime = ptr(n) }},
		{"cpu-burst", "microseconds that may be saved up", false, func(r *specs.LinuxResources, _ string, n int64) { r.CPU.Burst = uptr(n) }},
		{"cpu-share", "weight beside others, 1024 is usual", false, func(r *specs.LinuxResources, _ string, n int64) { r.CPU.Shares = uptr(n) }},
		{"cpuset-cpus", "processors, as in 0-2,4", false, func(r *specs.LinuxResources, v string, _ int64) { r.CPU.Cpus = v }},
		{"cpuset-mems", "memory nodes", false, func(r *specs.LinuxResources, v string, _ int64) { r.CPU.Mems = v }},
		{"pids-limit", "processes, -1: no limit", false, func(r *specs.LinuxResources, _ string, n int64) { r.Pids = &specs.LinuxPids{Limit: ptr(n)} }},
		{"blkio-weight", "10 to 1000", false, func(r *specs.LinuxResources, _ string, n int64) { w := uint16(n); r.BlockIO.Weight = &w }},
	}
}

func (c *face) updateCommand(f *globals) *cobra.Command {
	cmd := &cobra.Command{Use: "update [FLAGS] ID", Short: "Change the limits of a container", Args: between(1, 1)}
	file := cmd.Flags().StringP("resources", "r", "", "`FILE` with linux.resources as JSON, - for standard input; the other flags then do not count")
	values := map[string]*string{}
	for _, l := range limitFlags() {
		values[l.name] = cmd.Flags().String(l.name, "", l.help)
	}
	for _, name := range []string{"l3-cache-schema", "mem-bw-schema"} {
		cmd.Flags().String(name, "", "refused: Intel RDT is not supported")
	}
	cmd.RunE = c.simply(f, func(_ context.Context, r *ociruntime.Runtime, args []string) error {
		for _, name := range []string{"l3-cache-schema", "mem-bw-schema"} {
			if cmd.Flags().Changed(name) {
				return naru.Errorf(naru.Unimplemented, "--%s is not supported: Intel RDT is not", name)
			}
		}
		res, err := c.readResources(*file)
		if err == nil && *file == "" {
			err = setLimits(res, values)
		}
		if err != nil {
			return err
		}
		return r.Update(args[0], res)
	})
	return cmd
}

func (c *face) readResources(file string) (*specs.LinuxResources, error) {
	res := &specs.LinuxResources{}
	in := c.In
	switch file {
	case "":
		return res, nil
	case "-":
	default:
		opened, err := os.Open(file)
		if err != nil {
			return nil, naru.Errorf(naru.InvalidArgument, "read the limits: %w", err)
		}
		defer opened.Close()
		in = opened
	}
	const most = 1 << 20
	if err := json.NewDecoder(io.LimitReader(in, most)).Decode(res); err != nil {
		return nil, naru.Errorf(naru.InvalidArgument, "read the limits: %w", err)
	}
	return res, nil
}

func setLimits(res *specs.LinuxResources, values map[string]*string) error {
	res.Memory, res.CPU, res.BlockIO = &specs.LinuxMemory{}, &specs.LinuxCPU{}, &specs.LinuxBlockIO{}
	for _, l := range limitFlags() {
		v := *values[l.name]
		if v == "" {
			continue
		}
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil && l.bytes {
			n, err = units.RAMInBytes(v)
		}
		if err != nil && l.name != "cpuset-cpus" && l.name != "cpuset-mems" {
			return naru.Errorf(naru.InvalidArgument, "--%s: %q is no number", l.name, v)
		}
		l.set(res, v, n)
	}
	return nil
}

func (c *face) eventsCommand(f *globals) *cobra.Command {
	cmd := &cobra.Command{Use: "events [FLAGS] ID", Short: "Show what a container uses, as lines of JSON, until it ends", Args: between(1, 1)}
	interval := cmd.Flags().Duration("interval", 5*time.Second, "time between two lines")
	once := cmd.Flags().Bool("stats", false, "one line, and end")
	cmd.RunE = c.simply(f, func(ctx context.Context, r *ociruntime.Runtime, args []string) error {
		ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
		defer stop()
		if *interval <= 0 {
			return naru.Errorf(naru.InvalidArgument, "--interval %s: want more than nothing", *interval)
		}
		for first := true; ; first = false {
			event, err := r.Stats(args[0])
			if !first && (naru.CodeOf(err) == naru.NotFound || naru.CodeOf(err) == naru.FailedPrecondition) {
				return nil // it has ended
			}
			if err == nil {
				err = json.NewEncoder(c.Out).Encode(event)
			}
			if err != nil || *once {
				return err
			}
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(*interval):
			}
		}
	})
	return cmd
}

func (c *face) specCommand(f *globals) *cobra.Command {
	cmd := &cobra.Command{Use: "spec [FLAGS]", Short: "Write a bundle's config.json to begin with", Args: between(0, 0)}
	bundle := cmd.Flags().StringP("bundle", "b", ".", "the bundle's folder")
	alone := cmd.Flags().Bool("rootless", false, "for an ordinary user: its own ids in a user namespace")
	cmd.RunE = c.simply(f, func(context.Context, *ociruntime.Runtime, []string) error {
		s, err := ociruntime.ExampleSpec()
		if *alone {
			s, err = ociruntime.RootlessSpec(os.Getuid(), os.Getgid())
		}
		if err != nil {
			return err
		}
		b, err := json.MarshalIndent(s, "", "\t")
		if err != nil {
			return err
		}
		file, err := os.OpenFile(filepath.Join(*bundle, "config.json"), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if errors.Is(err, fs.ErrExist) {
			return naru.Errorf(naru.Conflict, "file config.json exists: remove it first")
		}
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(file, "%s\n", b)
		return errors.Join(err, file.Close())
	})
	return cmd
}

func (c *face) featuresCommand(f *globals) *cobra.Command {
	return &cobra.Command{Use: "features", Short: "Show what of the runtime-spec is there, as JSON", Args: between(0, 0),
		RunE: c.simply(f, func(context.Context, *ociruntime.Runtime, []string) error { return c.printJSON(ociruntime.Features()) })}
}

// absentCommand is a verb of runc's that naru does not have, whatever its flags.
func (c *face) absentCommand(f *globals, name string) *cobra.Command {
	return &cobra.Command{Use: name, Hidden: true, DisableFlagParsing: true,
		RunE: c.simply(f, func(context.Context, *ociruntime.Runtime, []string) error {
			return naru.Errorf(naru.Unimplemented, "%s is not supported: naru has no CRIU", name)
		})}
}
