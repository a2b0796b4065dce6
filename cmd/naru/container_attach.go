package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"naru/api"
	"naru/api/client"
)

func (c *cli) containerCreateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "create [FLAGS] IMAGE [COMMAND...]", Short: "Make a container without starting it", Args: between(1, -1),
		Long:        "Make a container without starting it, and print its id. Flags are those of naru container run.",
		Example:     "  naru container create --name job -v data:/data busybox ls /data\n  naru container start -a job",
		Annotations: map[string]string{likeDocker: "yes"}, ValidArgsFunction: first(c.completeImages),
	}
	var f runFlags
	var spec api.ContainerSpec
	f.register(cmd, &spec)
	cmd.RunE = c.run(func(ctx context.Context, args []string) error {
		spec.Image, spec.Command = args[0], args[1:]
		if err := c.complete(ctx, cmd, &f, &spec); err != nil {
			return err
		}
		return c.withImage(ctx, f.pull, spec.Image, f.quiet, func() error { return c.createContainer(ctx, spec, f.cidFile) })
	})
	return cmd
}

func (c *cli) createContainer(ctx context.Context, spec api.ContainerSpec, cidFile string) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	ct, err := cl.CreateContainer(ctx, spec)
	if err != nil {
		return err
	}
	if err := writeCID(cidFile, ct.ID); err != nil {
		return errors.Join(err, cl.RemoveContainer(ctx, ct.ID, true))
	}
	return c.printf("%s\n", ct.ID)
}

func (c *cli) containerStartCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "start CONTAINER...", Short: "Start containers", Args: between(1, -1),
		Long:    "Start containers. With -a stay with the one that is named until it ends; the exit code is its own then.",
		Example: "  naru container start web db\n  naru container start -a job", ValidArgsFunction: c.completeContainers(true),
	}
	attach := cmd.Flags().BoolP("attach", "a", false, "stay with it and show what it prints")
	interactive := cmd.Flags().BoolP("interactive", "i", false, "with our standard input")
	var keys detachKeys
	keys.register(cmd.Flags())
	detached := c.run(func(ctx context.Context, args []string) error {
		return c.forEach(args, func(cl *client.Client, name string) error { return cl.Start(ctx, name) })
	})
	attached := c.runProcess(func(ctx context.Context, args []string) error {
		return c.joinContainer(ctx, args[0], *interactive, &keys, (*client.Client).StartAttached)
	})
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if !*attach && !*interactive {
			return detached(cmd, args)
		}
		if err := between(1, 1)(cmd, args); err != nil {
			return err
		}
		return attached(cmd, args)
	}
	return cmd
}

func (c *cli) containerAttachCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "attach CONTAINER", Short: "Join a running container: its output, its input, its terminal", Args: between(1, 1),
		Long: `Join a running container: what it prints from now on, our input, and its terminal when it has one. Ctrl-P Ctrl-Q leaves a
container with a terminal and lets it run on. The exit code is the container's when it ends.`,
		Example: "  naru container attach web", ValidArgsFunction: first(c.completeContainers(false)),
	}
	noStdin := cmd.Flags().Bool("no-stdin", false, "without our standard input")
	var keys detachKeys
	keys.register(cmd.Flags())
	cmd.RunE = c.runProcess(func(ctx context.Context, args []string) error {
		return c.joinContainer(ctx, args[0], !*noStdin, &keys, (*client.Client).Attach)
	})
	return cmd
}

// joiner is how a container is joined.
type joiner func(*client.Client, context.Context, string, api.AttachRequest, client.Streams) (int, error)

// joinContainer opens the console as the container wants it: with a terminal when it has one.
func (c *cli) joinContainer(ctx context.Context, name string, stdin bool, keys *detachKeys, join joiner) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	ct, err := cl.Container(ctx, name)
	if err != nil {
		return err
	}
	stdin = stdin && (ct.Spec.OpenStdin || ct.Spec.TTY)
	return c.withProcess(ctx, stdin, stdin && ct.Spec.TTY, keys.watch(ctx, func(ctx context.Context, cl *client.Client, con *console) (int, error) {
		return join(cl, ctx, ct.ID, api.AttachRequest{Size: con.size}, con.Streams)
	}))
}
