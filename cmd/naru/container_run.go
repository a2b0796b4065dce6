package main

import (
	"context"
	"errors"
	"slices"

	"github.com/spf13/cobra"

	"naru/api"
	"naru/api/client"
	"naru/naru"
)

// runFlags are those of container run whose text is not yet what the API wants.
type runFlags struct {
	detach, interactive bool
	env, envFiles       []string
	labels              []string
	network             networkFlags
	health              healthFlags
	volumes, mounts     []string
	storage             []string
	memory, cpus        string
	entrypoint          string
	stopTimeout         graceValue
	userns              string
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
	cmd.RunE = c.runProcess(func(ctx context.Context, args []string) error {
		spec.Image, spec.Command = args[0], args[1:]
		if err := f.apply(&spec, cmd.Flags().Changed("entrypoint"), c.env); err != nil {
			return err
		}
		if f.detach {
			return c.startContainer(ctx, spec)
		}
		return c.withProcess(ctx, spec.OpenStdin, spec.TTY, detachable(ctx, func(ctx context.Context, cl *client.Client, con *console) (int, error) {
			return cl.RunContainer(ctx, api.ContainerRun{Spec: spec, Size: con.size}, con.Streams)
		}))
	})
	return cmd
}

// restartUsage describes --restart.
const restartUsage = "`policy` when it has ended: no, on-failure[:N], always or unless-stopped"

func (c *cli) startContainer(ctx context.Context, spec api.ContainerSpec) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	ct, err := cl.StartContainer(ctx, spec)
	if err != nil {
		return err
	}
	return c.printf("%s\n", ct.ID)
}

func (f *runFlags) register(cmd *cobra.Command, spec *api.ContainerSpec) {
	cmd.SetFlagErrorFunc(refuseAbsent)
	fs := cmd.Flags()
	fs.SetInterspersed(false) // flags after IMAGE belong to the command
	fs.BoolVarP(&f.detach, "detach", "d", false, "leave it running and print its id")
	fs.BoolVar(&spec.AutoRemove, "rm", false, "remove it when it ends")
	fs.StringVar(&spec.Restart, "restart", "", restartUsage)
	fs.StringVar(&spec.Name, "name", "", "its name (default made from its id)")
	fs.BoolVarP(&f.interactive, "interactive", "i", false, "with our standard input")
	fs.BoolVarP(&spec.TTY, "tty", "t", false, "with a terminal")
	fs.BoolVar(&spec.Init, "init", false, "a small init as process 1, which reaps orphans")
	fs.StringArrayVarP(&f.env, "env", "e", nil, "environment: `NAME=VALUE`, or NAME alone for our own value")
	fs.StringArrayVar(&f.envFiles, "env-file", nil, "`file` with a NAME=VALUE, or a NAME, a line")
	fs.StringArrayVarP(&f.labels, "label", "l", nil, "a label: `KEY=VALUE`")
	fs.StringVar(&f.entrypoint, "entrypoint", "", "`program` to run instead of the image's; empty: none")
	fs.StringVarP(&spec.User, "user", "u", "", "as `user[:group]`")
	fs.StringVarP(&spec.WorkingDir, "workdir", "w", "", "in this `folder`")
	fs.StringVar(&spec.Hostname, "hostname", "", "its host name (default the short id)")
	fs.Var(&f.stopTimeout, "stop-timeout", "`time` between the signal and SIGKILL when it is stopped: seconds, or 500ms (default 10s)")
	fs.StringVar(&spec.StopSignal, "stop-signal", "", "`signal` that asks it to end (default the image's, SIGTERM)")
	fs.StringArrayVarP(&f.volumes, "volume", "v", nil, "a volume or a folder: `NAME|/FOLDER:/TARGET[:ro]`")
	fs.StringArrayVar(&f.mounts, "mount", nil, "a mount in words: `type=volume|bind,source=…,target=…[,readonly][,volume-subpath=…][,volume-opt=size=…]`")
	fs.StringArrayVar(&spec.Tmpfs, "tmpfs", nil, "a file system in memory at this `folder`")
	fs.BoolVar(&spec.ReadOnly, "read-only", false, "with a root filesystem that cannot be written")
	f.network.register(fs)
	f.health.register(fs)
	fs.StringVar(&f.userns, "userns", "", "host: without a user namespace of its own")
	fs.StringVarP(&f.memory, "memory", "m", "", "memory `limit`, such as 256m")
	fs.StringArrayVar(&f.storage, "storage-opt", nil, "`size=…|inodes=…`: a limit of what it writes, such as size=1g; volumes do not count")
	fs.StringVar(&f.cpus, "cpus", "", "`number` of cores it may use, such as 0.5")
	fs.Int64Var(&spec.Limits.PIDs, "pids-limit", 0, "`number` of processes and threads it may have")
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
	if f.userns != "" && f.userns != "host" {
		return naru.Errorf(naru.InvalidArgument, "--userns %q: only host can be given; without the flag every container has its own", f.userns)
	}
	spec.HostUserNS = f.userns == "host"
	var errs [8]error
	spec.Env, errs[0] = f.environment(env)
	spec.Labels, errs[1] = parseLabels(f.labels)
	errs[2] = f.network.apply(spec)
	spec.Mounts, errs[3] = parseMounts(f.volumes, f.mounts)
	spec.Limits.MemoryBytes, errs[4] = parseMemory(f.memory)
	spec.Limits.NanoCPUs, errs[5] = parseCPUs(f.cpus)
	errs[6] = f.health.apply(spec)
	spec.Limits.Disk, errs[7] = parseDiskLimit("--storage-opt", f.storage)
	return errors.Join(slices.DeleteFunc(errs[:], func(err error) bool { return err == nil })...)
}
