// Package command is the command line of the OCI runtime, runc's: it receives the words and flags of a verb, hands them to
// package ociruntime, and owns how an answer and an error look to the programs that call it. Both naru and the small
// naru-oci are faces of it.
package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/spf13/cobra"

	"naru/engine/rootless"
	"naru/naru"
	"naru/ociruntime"
)

// globals are runc's global ones. Those that only choose between ways which naru has one of are taken and mean nothing.
type globals struct {
	root          string
	log           string
	logFormat     string
	debug         bool
	systemdCgroup bool
	rootless      string
	criu          string
}

const long = `Run containers from OCI bundles, with the verbs and flags of runc, so that containerd, dockerd, podman and others can
use naru as their runtime. It needs no daemon: each command starts the container in the same way as naru's own
engine does, keeps its state in ROOT/ID, and ends.

A program that takes only the path of a runtime gets a script of one line:

  #!/bin/sh
  exec naru oci "$@"

Exit codes: 0 done, 1 failed (exec: 255); run and exec exit with the process's own.`

// Options are what a program brings to the command line.
type Options struct {
	In       io.Reader
	Out, Err io.Writer
	Version  string
	Root     string                   // where containers are kept when --root does not say
	Init     func() (*os.File, error) // see ociruntime.Runtime
}

// face is one run of the command line.
type face struct{ Options }

// Exit is the exit status of a command that has said all it had to say.
type Exit int

func (e Exit) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// exitFailed is what a verb that failed exits with.
const exitFailed = 1

// New makes the command `oci` with its verbs.
func New(o Options) *cobra.Command {
	c := &face{o}
	f := &globals{}
	cmd := &cobra.Command{
		Use: "oci", Example: "  naru oci spec && naru oci run box   # in a folder with a rootfs", Short: "Run containers from OCI bundles, as runc does", Long: long,
		Version: fmt.Sprintf("%s\nspec: %s", c.Version, specs.Version),
		Args:    wantVerb, RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(c.createCommand(f), c.startCommand(f), c.runCommand(f), c.execCommand(f), c.stateCommand(f), c.killCommand(f), c.deleteCommand(f), c.listCommand(f), c.psCommand(f),
		c.freezerCommand(f, "pause", "Stop every process of a container", (*ociruntime.Runtime).Pause),
		c.freezerCommand(f, "resume", "Let the processes of a paused container go on", (*ociruntime.Runtime).Resume),
		c.updateCommand(f), c.eventsCommand(f), c.specCommand(f), c.featuresCommand(f))
	for _, verb := range cmd.Commands() {
		verb.Example = "  naru oci " + examples()[verb.Name()]
	}
	cmd.AddCommand(c.absentCommand(f, "checkpoint"), c.absentCommand(f, "restore"))
	cmd.SetVersionTemplate("naru oci version {{.Version}}\n")
	fs := cmd.PersistentFlags()
	fs.StringVar(&f.root, "root", o.Root, "folder of the containers' state; should be on a tmpfs")
	fs.StringVar(&f.log, "log", "", "`FILE` to write errors to as well")
	fs.StringVar(&f.logFormat, "log-format", "text", "text or json")
	fs.BoolVar(&f.debug, "debug", false, "taken for runc's sake; there is no more to tell")
	fs.BoolVar(&f.systemdCgroup, "systemd-cgroup", false, "refused: cgroups are made in cgroupfs")
	fs.StringVar(&f.rootless, "rootless", "auto", "auto, true or false; an ordinary user's containers are, root's are not")
	fs.StringVar(&f.criu, "criu", "", "taken for runc's sake")
	return cmd
}

// verb is what an oci command does; status is the exit code.
type verb func(ctx context.Context, r *ociruntime.Runtime, args []string) (status int, err error)

// run makes a verb a cobra RunE that tells of an error as runc's callers expect: on standard error, and in the log.
func (c *face) run(f *globals, failed int, v verb) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		collectLittle()
		r, err := c.runtime(f)
		status := 0
		if err == nil {
			status, err = v(cmd.Context(), r, args)
		}
		if err == nil {
			return c.end(status)
		}
		f.write("error", err)
		c.note("naru: %s", err)
		return Exit(failed)
	}
}

// collectLittle leaves garbage where it is: a verb ends before there is anything worth collecting. The limit is for a spec
// that nobody expects.
func collectLittle() {
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(64 << 20)
}

// simply makes a verb without an exit status of its own one that fails with 1.
func (c *face) simply(f *globals, v func(ctx context.Context, r *ociruntime.Runtime, args []string) error) func(*cobra.Command, []string) error {
	return c.run(f, exitFailed, func(ctx context.Context, r *ociruntime.Runtime, args []string) (int, error) {
		return 0, v(ctx, r, args)
	})
}

func (c *face) runtime(f *globals) (*ociruntime.Runtime, error) {
	switch {
	case f.systemdCgroup:
		return nil, naru.Errorf(naru.Unimplemented, "--systemd-cgroup is not supported: use the cgroupfs driver")
	case f.rootless == "true" && os.Geteuid() == 0 && !rootless.Entered():
		return nil, naru.Errorf(naru.Unimplemented, "--rootless=true is not supported for root: use a user namespace in the configuration")
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
	return &ociruntime.Runtime{Root: root, Init: c.Init, Warn: warn, Rootless: rootless.Entered()}, nil
}

// write appends a line to the log, in the words that containerd parses. A log that cannot be written to is no reason
// to fail: standard error has it too.
func (f *globals) write(level string, err error) {
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

func (c *face) createCommand(f *globals) *cobra.Command {
	cmd := &cobra.Command{Use: "create [FLAGS] ID", Short: "Make a container whose program waits for start", Args: between(1, 1)}
	o := registerCreate(cmd)
	cmd.RunE = c.run(f, exitFailed, asRoot(o, func(ctx context.Context, r *ociruntime.Runtime, args []string) (int, error) {
		options, err := o.options(args[0], true)
		if err != nil {
			return 0, err
		}
		return 0, r.Create(ctx, options)
	}))
	return cmd
}

func (c *face) runCommand(f *globals) *cobra.Command {
	cmd := &cobra.Command{Use: "run [FLAGS] ID", Short: "Make a container and run it to its end", Args: between(1, 1)}
	o := registerCreate(cmd)
	detach := cmd.Flags().BoolP("detach", "d", false, "leave it running")
	keep := cmd.Flags().Bool("keep", false, "do not delete it when it ends")
	cmd.Flags().Bool("no-subreaper", false, "taken for runc's sake: there is none")
	cmd.RunE = c.run(f, exitFailed, asRoot(o, func(ctx context.Context, r *ociruntime.Runtime, args []string) (int, error) {
		options, err := o.options(args[0], *detach)
		if err != nil {
			return 0, err
		}
		return r.Run(ctx, options, *keep)
	}))
	return cmd
}

// asRoot lets root make a container. For an ordinary user this very command is run once more, as root of a user namespace;
// all other verbs need none: who made a namespace has every right in it.
func asRoot(o *createFlags, make verb) verb {
	return func(ctx context.Context, r *ociruntime.Runtime, args []string) (int, error) {
		if os.Geteuid() == 0 {
			return make(ctx, r, args)
		}
		if err := o.Delegate(); err != nil {
			return 0, err
		}
		ids, lacking := rootless.OwnIDs()
		own, err := stdio(o.preserve + listenFDs())
		if err != nil {
			return 0, err
		}
		files := append(own.Files[:], own.Keep...)
		status, err := rootless.Run(rootless.Command{Args: os.Args, Env: os.Environ(), Files: files, IDs: ids})
		if err != nil {
			return 0, errors.Join(err, lacking)
		}
		return status, nil
	}
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
	fs.BoolVar(&f.KeepKeyring, "no-new-keyring", false, "leave the container in the caller's session keyring, with its keys")
	return f
}

func (f *createFlags) options(id string, detach bool) (o ociruntime.CreateOptions, err error) {
	if f.noPivot {
		return o, naru.Errorf(naru.Unimplemented, "--no-pivot is not supported: it would let a container out of its root")
	}
	o = f.CreateOptions
	o.ID, o.Detach, o.ListenFDs = id, detach, listenFDs()
	if !detach {
		o.Signals = passedOn()
	}
	if o.Stdio, err = stdio(f.preserve + o.ListenFDs); err != nil {
		return o, err
	}
	return o, nil
}

// passedOn takes up the signals that are for the container's process. It does not wait for the Go runtime, which wakes
// threads for each; and nobody gives them back, for with the process this program ends.
func passedOn() <-chan os.Signal {
	signals := make(chan os.Signal, 64)
	go signal.Notify(signals, ociruntime.PassedOn()...)
	return signals
}

// listenFDs are how many sockets systemd, or who does as it does, has opened for the container: the first ones from 3 on. They
// are for this process, or for its parent where that started it once more for an ordinary user.
func listenFDs() int {
	meant := os.Getpid()
	if rootless.Entered() {
		meant = os.Getppid()
	}
	n, err := strconv.Atoi(os.Getenv("LISTEN_FDS"))
	if err != nil || n < 0 || os.Getenv("LISTEN_PID") != strconv.Itoa(meant) {
		return 0
	}
	return n
}

// stdio are this process's own descriptors, and so many from 3 on.
func stdio(preserve int) (s ociruntime.Stdio, err error) {
	s.Files = [3]*os.File{os.Stdin, os.Stdout, os.Stderr}
	s.Keep, err = ociruntime.PreservedFiles(preserve)
	return s, err
}

func (c *face) startCommand(f *globals) *cobra.Command {
	return &cobra.Command{Use: "start ID", Short: "Run the program of a created container", Args: between(1, 1),
		RunE: c.simply(f, func(ctx context.Context, r *ociruntime.Runtime, args []string) error { return r.Start(ctx, args[0]) })}
}

func (c *face) stateCommand(f *globals) *cobra.Command {
	return &cobra.Command{Use: "state ID", Short: "Show the state of a container as JSON", Args: between(1, 1),
		RunE: c.simply(f, func(_ context.Context, r *ociruntime.Runtime, args []string) error {
			s, err := r.State(args[0])
			if err != nil {
				return err
			}
			return c.printJSON(s)
		})}
}

func (c *face) killCommand(f *globals) *cobra.Command {
	cmd := &cobra.Command{Use: "kill [FLAGS] ID [SIGNAL]", Short: "Send a signal to a container (default TERM)", Args: between(1, 2)}
	all := cmd.Flags().BoolP("all", "a", false, "to all of its processes")
	cmd.RunE = c.simply(f, func(_ context.Context, r *ociruntime.Runtime, args []string) error {
		signal, err := ociruntime.ParseSignal(strings.Join(append(args[1:], "TERM")[:1], ""))
		if err != nil {
			return err
		}
		return r.Kill(args[0], signal, *all)
	})
	return cmd
}

func (c *face) deleteCommand(f *globals) *cobra.Command {
	cmd := &cobra.Command{Use: "delete [FLAGS] ID", Short: "Forget a stopped container", Args: between(1, 1)}
	force := cmd.Flags().BoolP("force", "f", false, "kill it first if it runs; one that does not exist is no error")
	cmd.RunE = c.simply(f, func(ctx context.Context, r *ociruntime.Runtime, args []string) error {
		return r.Delete(ctx, args[0], *force)
	})
	return cmd
}

func (c *face) freezerCommand(f *globals, name, short string, act func(*ociruntime.Runtime, string) error) *cobra.Command {
	return &cobra.Command{Use: name + " ID", Short: short, Args: between(1, 1),
		RunE: c.simply(f, func(_ context.Context, r *ociruntime.Runtime, args []string) error { return act(r, args[0]) })}
}

// examples are what follows the program's name in the help of each verb.
func examples() map[string]string {
	return map[string]string{
		"create": "create --bundle /boxes/web --pid-file web.pid web", "start": "start web", "state": "state web",
		"run": "run --bundle /boxes/web web", "exec": "exec -t web sh", "kill": "kill web TERM", "delete": "delete --force web",
		"list": "list --format json", "ps": "ps web", "pause": "pause web", "resume": "resume web",
		"update": "update --memory 256m --cpu-quota 50000 web", "events": "events --stats web", "spec": "spec --bundle /boxes/web",
		"features": "features",
	}
}

// formatFlags are those of verbs that list: runc's, and naru's --json.
func formatFlags(cmd *cobra.Command) func() (asJSON bool, err error) {
	format := cmd.Flags().StringP("format", "f", "table", "table or json")
	alias := cmd.Flags().Bool("json", false, "the same as --format json")
	return func() (bool, error) {
		if *format != "table" && *format != "json" {
			return false, naru.Errorf(naru.InvalidArgument, "--format %q: want table or json", *format)
		}
		return *alias || *format == "json", nil
	}
}

// end makes the end of a process the end of the program.
func (c *face) end(status int) error {
	if status == 0 {
		return nil
	}
	return Exit(status)
}

func (c *face) printf(format string, args ...any) error {
	_, err := fmt.Fprintf(c.Out, format, args...)
	return err
}

// note tells people something that is not the answer.
func (c *face) note(format string, args ...any) {
	_, _ = fmt.Fprintf(c.Err, format+"\n", args...) // nowhere left to report to
}

func (c *face) printJSON(v any) error {
	e := json.NewEncoder(c.Out)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

func wantVerb(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return naru.Errorf(naru.InvalidArgument, "unknown command %q for %q", args[0], cmd.CommandPath())
	}
	return nil
}

// between accepts a number of arguments; most below 0 is any number.
func between(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < least || most >= 0 && len(args) > most {
			return naru.Errorf(naru.InvalidArgument, "wrong number of arguments: %s", cmd.UseLine())
		}
		return nil
	}
}
