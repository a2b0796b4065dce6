package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/spf13/cobra"

	"naru/engine/keeper"
	"naru/naru"
	"naru/ociruntime"
)

// ociFlags are runc's global ones. Those that only choose between ways which naru has one of are taken and mean nothing.
type ociFlags struct {
	root          string
	log           string
	logFormat     string
	debug         bool
	systemdCgroup bool
	rootless      string
	criu          string
}

const ociLong = `Run containers from OCI bundles, with the verbs and flags of runc, so that containerd, dockerd, podman and others can
use naru as their runtime. It needs no daemon: each command starts the container in the same way as naru's own
engine does, keeps its state in ROOT/ID, and ends.

A program that takes only the path of a runtime gets a script of one line:

  #!/bin/sh
  exec naru oci "$@"

Exit codes: 0 done, 1 failed (exec: 255); run and exec exit with the process's own.`

func (c *cli) ociCommand() *cobra.Command {
	f := &ociFlags{}
	cmd := noun(&cobra.Command{
		Use: "oci", Short: "Run containers from OCI bundles, as runc does", Long: ociLong,
		Version: fmt.Sprintf("%s\nspec: %s", programVersion(), specs.Version),
	}, c.ociCreate(f), c.ociStart(f), c.ociRun(f), c.ociExec(f), c.ociState(f), c.ociKill(f), c.ociDelete(f), c.ociList(f), c.ociPs(f),
		c.ociFreezer(f, "pause", "Stop every process of a container", (*ociruntime.Runtime).Pause),
		c.ociFreezer(f, "resume", "Let the processes of a paused container go on", (*ociruntime.Runtime).Resume),
		c.ociUpdate(f), c.ociEvents(f), c.ociSpec(f), c.ociFeatures(f))
	cmd.SetVersionTemplate("naru oci version {{.Version}}\n")
	fs := cmd.PersistentFlags()
	fs.StringVar(&f.root, "root", defaultRunDir+"/oci", "folder of the containers' state; should be on a tmpfs")
	fs.StringVar(&f.log, "log", "", "`FILE` to write errors to as well")
	fs.StringVar(&f.logFormat, "log-format", "text", "text or json")
	fs.BoolVar(&f.debug, "debug", false, "taken for runc's sake; there is no more to tell")
	fs.BoolVar(&f.systemdCgroup, "systemd-cgroup", false, "refused: cgroups are made in cgroupfs")
	fs.StringVar(&f.rootless, "rootless", "auto", "auto or false; true is refused")
	fs.StringVar(&f.criu, "criu", "", "taken for runc's sake")
	return cmd
}

// ociVerb is what an oci command does; status is the exit code.
type ociVerb func(ctx context.Context, r *ociruntime.Runtime, args []string) (status int, err error)

// oci makes a verb a cobra RunE that tells of an error as runc's callers expect: on standard error, and in the log.
func (c *cli) oci(f *ociFlags, failed int, v ociVerb) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		r, err := c.ociRuntime(f)
		status := 0
		if err == nil {
			status, err = v(cmd.Context(), r, args)
		}
		if err == nil {
			return processEnd(status, nil)
		}
		f.write("error", err)
		c.note("naru: %s", err)
		return exitStatus(failed)
	}
}

// simply makes a verb without an exit status of its own one that fails with 1.
func (c *cli) ociSimply(f *ociFlags, v func(ctx context.Context, r *ociruntime.Runtime, args []string) error) func(*cobra.Command, []string) error {
	return c.oci(f, exitFailed, func(ctx context.Context, r *ociruntime.Runtime, args []string) (int, error) {
		return 0, v(ctx, r, args)
	})
}

func (c *cli) ociRuntime(f *ociFlags) (*ociruntime.Runtime, error) {
	switch {
	case f.systemdCgroup:
		return nil, naru.Errorf(naru.Unimplemented, "--systemd-cgroup is not supported: use the cgroupfs driver")
	case f.rootless == "true":
		return nil, naru.Errorf(naru.Unimplemented, "--rootless=true is not supported")
	case f.logFormat != "text" && f.logFormat != "json":
		return nil, naru.Errorf(naru.InvalidArgument, "unknown log format %q", f.logFormat)
	}
	root, err := filepath.Abs(f.root)
	if err != nil {
		return nil, err
	}
	warn := func(err error) {
		if f.log == "" {
			c.note("naru: warning: %s", err)
		}
		f.write("warning", err) // standard error may be the container's own
	}
	return &ociruntime.Runtime{Root: root, Init: keeper.Executable, Warn: warn}, nil
}

// write appends a line to the log, in the words that containerd parses. A log that cannot be written to is no reason
// to fail: standard error has it too.
func (f *ociFlags) write(level string, err error) {
	if f.log == "" {
		return
	}
	file, openErr := os.OpenFile(f.log, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if openErr != nil {
		return
	}
	defer file.Close()
	now := time.Now().UTC().Format(time.RFC3339Nano)
	line := fmt.Sprintf("time=%q level=%s msg=%q\n", now, level, err.Error())
	if f.logFormat == "json" {
		b, _ := json.Marshal(map[string]string{"level": level, "msg": err.Error(), "time": now}) // strings always marshal
		line = string(b) + "\n"
	}
	_, _ = file.WriteString(line)
}

func (c *cli) ociCreate(f *ociFlags) *cobra.Command {
	cmd := &cobra.Command{Use: "create [FLAGS] ID", Short: "Make a container whose program waits for start", Args: between(1, 1)}
	o := registerCreate(cmd)
	cmd.RunE = c.ociSimply(f, func(ctx context.Context, r *ociruntime.Runtime, args []string) error {
		options, err := o.options(args[0], true)
		if err != nil {
			return err
		}
		return r.Create(ctx, options)
	})
	return cmd
}

func (c *cli) ociRun(f *ociFlags) *cobra.Command {
	cmd := &cobra.Command{Use: "run [FLAGS] ID", Short: "Make a container and run it to its end", Args: between(1, 1)}
	o := registerCreate(cmd)
	detach := cmd.Flags().BoolP("detach", "d", false, "leave it running")
	keep := cmd.Flags().Bool("keep", false, "do not delete it when it ends")
	cmd.Flags().Bool("no-subreaper", false, "taken for runc's sake: there is none")
	cmd.RunE = c.oci(f, exitFailed, func(ctx context.Context, r *ociruntime.Runtime, args []string) (int, error) {
		options, err := o.options(args[0], *detach)
		if err != nil {
			return 0, err
		}
		return r.Run(ctx, options, *detach, *keep)
	})
	return cmd
}

// createFlags are those of create and run.
type createFlags struct {
	ociruntime.CreateOptions
	preserve int
	noPivot  bool
}

func registerCreate(cmd *cobra.Command) *createFlags {
	f := &createFlags{}
	fs := cmd.Flags()
	fs.StringVarP(&f.Bundle, "bundle", "b", ".", "the bundle's folder")
	fs.StringVar(&f.PIDFile, "pid-file", "", "`FILE` to write the process's id to")
	fs.StringVar(&f.ConsoleSocket, "console-socket", "", "`SOCKET` to send the terminal to")
	fs.IntVar(&f.preserve, "preserve-fds", 0, "`NUMBER` of descriptors from 3 on that the process gets")
	fs.BoolVar(&f.noPivot, "no-pivot", false, "refused: it would let a container out of its root")
	fs.Bool("no-new-keyring", false, "taken for runc's sake: session keyrings are not made")
	return f
}

func (f *createFlags) options(id string, detach bool) (o ociruntime.CreateOptions, err error) {
	if f.noPivot {
		return o, naru.Errorf(naru.Unimplemented, "--no-pivot is not supported: it would let a container out of its root")
	}
	o = f.CreateOptions
	o.ID = id
	if o.Stdio, err = ociStdio(f.preserve); err != nil {
		return o, err
	}
	return o, o.CheckConsole(detach)
}

// ociStdio are this process's own descriptors: a socket of LISTEN_FDS counts, as with runc.
func ociStdio(preserve int) (s ociruntime.Stdio, err error) {
	s.Files = [3]*os.File{os.Stdin, os.Stdout, os.Stderr}
	s.Keep, err = ociruntime.PreservedFiles(preserve)
	return s, err
}

func (c *cli) ociStart(f *ociFlags) *cobra.Command {
	return &cobra.Command{Use: "start ID", Short: "Run the program of a created container", Args: between(1, 1),
		RunE: c.ociSimply(f, func(ctx context.Context, r *ociruntime.Runtime, args []string) error { return r.Start(ctx, args[0]) })}
}

func (c *cli) ociState(f *ociFlags) *cobra.Command {
	return &cobra.Command{Use: "state ID", Short: "Show the state of a container as JSON", Args: between(1, 1),
		RunE: c.ociSimply(f, func(_ context.Context, r *ociruntime.Runtime, args []string) error {
			s, err := r.State(args[0])
			if err != nil {
				return err
			}
			return c.printJSON(s)
		})}
}

func (c *cli) ociKill(f *ociFlags) *cobra.Command {
	cmd := &cobra.Command{Use: "kill [FLAGS] ID [SIGNAL]", Short: "Send a signal to a container (default TERM)", Args: between(1, 2)}
	all := cmd.Flags().BoolP("all", "a", false, "to all of its processes")
	cmd.RunE = c.ociSimply(f, func(_ context.Context, r *ociruntime.Runtime, args []string) error {
		signal, err := ociruntime.ParseSignal(strings.Join(append(args[1:], "TERM")[:1], ""))
		if err != nil {
			return err
		}
		return r.Kill(args[0], signal, *all)
	})
	return cmd
}

func (c *cli) ociDelete(f *ociFlags) *cobra.Command {
	cmd := &cobra.Command{Use: "delete [FLAGS] ID", Short: "Forget a stopped container", Args: between(1, 1)}
	force := cmd.Flags().BoolP("force", "f", false, "kill it first if it runs; one that does not exist is no error")
	cmd.RunE = c.ociSimply(f, func(ctx context.Context, r *ociruntime.Runtime, args []string) error {
		return r.Delete(ctx, args[0], *force)
	})
	return cmd
}

func (c *cli) ociFreezer(f *ociFlags, name, short string, act func(*ociruntime.Runtime, string) error) *cobra.Command {
	return &cobra.Command{Use: name + " ID", Short: short, Args: between(1, 1),
		RunE: c.ociSimply(f, func(_ context.Context, r *ociruntime.Runtime, args []string) error { return act(r, args[0]) })}
}
