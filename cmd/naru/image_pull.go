package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"naru/api"
	"naru/api/client"
	"naru/naru"
)

func (c *cli) imagePullCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "pull IMAGE", Short: "Fetch an image from its registry", Args: between(1, 1),
		Long: `Fetch an image from its registry, for this machine's platform, and print its name. A registry on this machine itself is
asked by HTTP, all others by HTTPS.`,
		Example: "  naru image pull alpine:3.20\n  naru image pull ghcr.io/me/app",
	}
	quiet := cmd.Flags().BoolP("quiet", "q", false, "print the digest alone")
	cmd.RunE = c.run(func(ctx context.Context, args []string) error {
		cl, err := c.client()
		if err != nil {
			return err
		}
		img, err := cl.PullImage(ctx, args[0])
		if err != nil {
			return err
		}
		if *quiet {
			return c.printf("%s\n", img.Digest)
		}
		return c.printf("%s %s\n", args[0], img.Digest)
	})
	return cmd
}

// pullPolicy says when an image is fetched from its registry before a container is made of it.
type pullPolicy string

const (
	pullMissing pullPolicy = "missing"
	pullAlways  pullPolicy = "always"
	pullNever   pullPolicy = "never"
)

// Set implements pflag.Value.
func (p *pullPolicy) Set(s string) error {
	switch *p = pullPolicy(s); *p {
	case pullMissing, pullAlways, pullNever:
		return nil
	}
	return errors.New("write always, missing or never")
}

// String implements pflag.Value.
func (p *pullPolicy) String() string { return "" }

// Type implements pflag.Value.
func (p *pullPolicy) Type() string { return "policy" }

// withImage calls run, and fetches the image as the policy has it: first, or when run finds that it is not here.
func (c *cli) withImage(ctx context.Context, policy pullPolicy, image string, quiet bool, run func() error) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	if policy != pullAlways {
		err := run()
		if policy == pullNever || naru.CodeOf(err) != naru.NotFound || !imageMissing(ctx, cl, image) {
			return err
		}
	}
	if !quiet {
		c.note("naru: fetching image %s from its registry", image)
	}
	if _, err := cl.PullImage(ctx, image); err != nil {
		return err
	}
	return run()
}

// imageMissing tells an image that is not here from something else that is not.
func imageMissing(ctx context.Context, cl *client.Client, image string) bool {
	_, err := cl.Image(ctx, image)
	var answered *api.Error
	return errors.As(err, &answered) && naru.CodeOf(err) == naru.NotFound
}
