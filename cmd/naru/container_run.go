package main

import (
	"context"
	"errors"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"naru/api"
	"naru/api/client"
	"naru/naru"
)

// runFlags are those of container run whose text is not yet what the API wants.
type runFlags struct {
	detach, interactive, quiet bool
	env, envFiles              []string
	labels, labelFiles         []string
	network                    networkFlags
	health                     healthFlags
	isolation                  isolationFlags
	limits                     limitFlags
	io                         ioFlags
	logs                       logDriverFlags
	mounts                     mountFlags
	storage                    []string
	entrypoint                 string
	stopTimeout                graceValue
	pull                       pullPolicy
	cidFile                    string
	detachKeys                 detachKeys
}

func (c *cli) containerRunCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "run [FLAGS] IMAGE [COMMAND...]", Short: "Run a container", Args: between(1, -1),
		Long: `Run a container and stay with it until it ends, or leave it running with -d. Flags are named and mean as docker's;
what stands after IMAGE is the container's own.

The exit code is the process's; 125 when the container could not be made, 126 when its program could not be
executed, 127 when there is no such program.`,
		Example: `  naru container run --rm busybox echo hello
  naru container run -d --name web -p 8080:80 -v site:/srv:ro -m 256m --cpus 0.5 nginx
  naru container run --rm -it debian bash`,
		Annotations: map[string]string{likeDocker: "yes"}, ValidArgsFunction: first(c.completeImages),
	}
	var f runFlags
	var spec api.ContainerSpec
	f.register(cmd, &spec)
	cmd.Flags().BoolVarP(&f.detach, "detach", "d", false, "leave it running and print its id")
	f.detachKeys.register(cmd.Flags())
	cmd.RunE = c.runProcess(func(ctx context.Context, args []string) error {
		spec.Image, spec.Command = args[0], args[1:]
		if err := c.complete(ctx, cmd, &f, &spec); err != nil {
			return err
		}
		return c.withImage(ctx, f.pull, spec.Image, f.quiet, func() error {
			switch {
			case f.detach:
				return c.startContainer(ctx, spec, f.cidFile)
			case f.cidFile != "":
				return c.runKnown(ctx, spec, &f)
			}
			return c.withProcess(ctx, spec.OpenStdin, spec.TTY, f.detachKeys.watch(ctx, func(ctx context.Context, cl *client.Client, con *console) (int, error) {
				return cl.RunContainer(ctx, api.ContainerRun{Spec: spec, Size: con.size}, con.Streams)
			}))
		})
	})
	return cmd
}

// restartUsage describes --restart.
const restartUsage = "`policy` when it has ended: no, on-failure[:N], always or unless-stopped"

func (c *cli) startContainer(ctx context.Context, spec api.ContainerSpec, cidFile string) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	ct, err := cl.StartContainer(ctx, spec)
	if err == nil {
		err = writeCID(cidFile, ct.ID)
	}
	if err != nil {
		return err
	}
	return c.printf("%s\n", ct.ID)
}

// runKnown makes the container, tells its id, and only then starts it.
func (c *cli) runKnown(ctx context.Context, spec api.ContainerSpec, f *runFlags) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	ct, err := cl.CreateContainer(ctx, spec)
	if err != nil {
		return err
	}
	if err := writeCID(f.cidFile, ct.ID); err != nil {
		return errors.Join(err, cl.RemoveContainer(ctx, ct.ID, true))
	}
	return c.joinContainer(ctx, ct.ID, spec.OpenStdin, &f.detachKeys, (*client.Client).StartAttached)
}

// writeCID writes a container's id to a file that is not there yet; "" is none.
func writeCID(file, id string) (err error) {
	if file == "" {
		return nil
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return naru.Errorf(naru.InvalidArgument, "--cidfile: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	_, err = f.WriteString(id)
	return err
}

// register adds the flags that run and create have in common.
func (f *runFlags) register(cmd *cobra.Command, spec *api.ContainerSpec) {
	fs := cmd.Flags()
	fs.SetInterspersed(false) // flags after IMAGE belong to the command
	fs.Bool("help", false, "this text")
	fs.BoolVar(&spec.AutoRemove, "rm", false, "remove it when it ends")
	fs.StringVar(&spec.Restart, "restart", "", restartUsage)
	fs.StringVar(&spec.Name, "name", "", "its name (default made from its id)")
	fs.StringVar(&f.cidFile, "cidfile", "", "new `file` to write its id to")
	fs.Var(&f.pull, "pull", "`when` to fetch the image from its registry: always, missing or never (default missing)")
	fs.BoolVarP(&f.quiet, "quiet", "q", false, "say nothing of a fetched image")
	fs.BoolVarP(&f.interactive, "interactive", "i", false, "with our standard input")
	fs.BoolVarP(&spec.TTY, "tty", "t", false, "with a terminal")
	fs.BoolVar(&spec.Init, "init", false, "a small init as process 1, which reaps orphans")
	fs.StringArrayVarP(&f.env, "env", "e", nil, "environment: `NAME=VALUE`, or NAME alone for our own value")
	fs.StringArrayVar(&f.envFiles, "env-file", nil, "`file` with a NAME=VALUE, or a NAME, a line")
	fs.StringArrayVarP(&f.labels, "label", "l", nil, "a label: `KEY=VALUE`")
	fs.StringArrayVar(&f.labelFiles, "label-file", nil, "`file` with a KEY=VALUE a line")
	fs.StringVar(&f.entrypoint, "entrypoint", "", "`program` to run instead of the image's; empty: none")
	fs.StringVarP(&spec.User, "user", "u", "", "as `user[:group]`")
	fs.StringVarP(&spec.WorkingDir, "workdir", "w", "", "in this `folder`")
	fs.StringVarP(&spec.Hostname, "hostname", "h", "", "its host `name` (default the short id)")
	fs.Var(&f.stopTimeout, "stop-timeout", "`time` between the signal and SIGKILL when it is stopped: seconds, or 500ms (default 10s)")
	fs.StringVar(&spec.StopSignal, "stop-signal", "", "`signal` that asks it to end (default the image's, SIGTERM)")
	fs.BoolVar(&spec.ReadOnly, "read-only", false, "with a root filesystem that cannot be written")
	fs.StringArrayVar(&f.storage, "storage-opt", nil, "`size=…|inodes=…`: a limit of what it writes, such as size=1g; volumes do not count")
	f.mounts.register(fs)
	f.network.register(fs)
	f.health.register(fs)
	f.limits.register(fs)
	f.io.register(fs)
	f.isolation.register(fs)
	f.logs.register(fs)
}

// complete reads the flags into the spec, and asks the daemon for what they say of other containers.
func (c *cli) complete(ctx context.Context, cmd *cobra.Command, f *runFlags, spec *api.ContainerSpec) error {
	if err := f.apply(spec, cmd.Flags().Changed("entrypoint"), c.env); err != nil {
		return err
	}
	if f.cidFile != "" {
		if _, err := os.Lstat(f.cidFile); err == nil {
			return naru.Errorf(naru.InvalidArgument, "--cidfile %s: the file is there already; remove it, or name another", f.cidFile)
		}
	}
	return c.mountsFrom(ctx, f.mounts.from, spec)
}

// apply reads the texts into the spec.
func (f *runFlags) apply(spec *api.ContainerSpec, entrypoint bool, env func(string) string) error {
	spec.OpenStdin = f.interactive
	if f.stopTimeout.d != nil {
		spec.StopGrace = *f.stopTimeout.d
	}
	if entrypoint {
		spec.Entrypoint = []string{f.entrypoint}
	}
	var errs [10]error
	spec.Env, errs[0] = environment(f.envFiles, f.env, env)
	spec.Labels, errs[1] = labels(f.labelFiles, f.labels)
	errs[2] = f.network.apply(spec)
	errs[3] = f.mounts.apply(spec)
	spec.Limits, errs[4] = f.limits.read()
	errs[5] = f.health.apply(spec)
	spec.Limits.Disk, errs[6] = parseDiskLimit("--storage-opt", f.storage)
	errs[7] = f.io.apply(spec)
	errs[8] = f.isolation.apply(spec)
	errs[9] = f.logs.apply(spec)
	return errors.Join(slices.DeleteFunc(errs[:], func(err error) bool { return err == nil })...)
}
