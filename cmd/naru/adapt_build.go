//go:build !front

package main

import (
	"context"
	"fmt"
	"strings"

	"naru/delivery"
	"naru/delivery/builder"
	"naru/engine"
	"naru/engine/image"
	"naru/naru"
)

// builds is the builder as delivery wants it.
type builds struct{ b *builder.Builder }

// Build implements delivery.Builder.
func (a builds) Build(ctx context.Context, ae naru.AppEnv, s naru.ServiceSpec, session string, progress func(delivery.BuildProgress)) (naru.Digest, error) {
	return a.b.Build(ctx, builder.Request{AppEnv: ae, Service: s, SessionID: session}, func(p builder.Progress) {
		for _, step := range p.Steps {
			if news, ok := stepNews(step); ok {
				progress(news)
			}
		}
		for _, l := range p.Logs {
			progress(delivery.BuildProgress{Step: l.Step, Output: l.Data})
		}
		for _, w := range p.Warnings {
			progress(delivery.BuildProgress{Step: w.Step, Output: []byte("warning: " + w.Message + "\n")})
		}
	})
}

// stepNews leaves out what people do not ask about: steps that have not begun, and the builder's own, such as reading
// the Dockerfile, unless they fail.
func stepNews(n builder.StepNews) (delivery.BuildProgress, bool) {
	p := delivery.BuildProgress{Step: n.ID, Name: n.Name}
	switch {
	case n.Error != "":
		p.State, p.Error = delivery.StepFailed, n.Error
		return p, true
	case n.StartedAt.IsZero() || strings.HasPrefix(n.Name, "[internal]"):
		return p, false
	case n.Cached:
		p.State = delivery.StepCached
	case !n.EndedAt.IsZero():
		p.State, p.Took = delivery.StepDone, n.EndedAt.Sub(n.StartedAt)
	default:
		p.State = delivery.StepStarted
	}
	return p, true
}

// resolve is the image store as delivery wants it.
type resolve struct{ images *image.Store }

// Resolve implements delivery.Images: a local image, else one pulled.
func (a resolve) Resolve(ctx context.Context, reference string) (naru.Digest, error) {
	img, err := a.images.Get(ctx, reference)
	if naru.CodeOf(err) == naru.NotFound {
		img, err = a.images.Pull(ctx, reference)
	}
	return img.Digest, err
}

// Keep implements delivery.Images.
func (a resolve) Keep(ctx context.Context, ae naru.AppEnv, releases []naru.Release) error {
	var images []naru.Digest
	for _, r := range releases {
		for _, s := range r.Services {
			images = append(images, s.ImageDigest)
		}
	}
	if err := a.images.Pin(ctx, "release-"+ae.Label(), images...); err != nil {
		return fmt.Errorf("keep the images of %s: %w", ae, err)
	}
	return nil
}

// steps is the engine as the builder wants it.
type steps struct{ e *engine.Engine }

// RunStep implements builder.StepRunner.
func (a steps) RunStep(ctx context.Context, s builder.Step) (int, error) {
	var hosts strings.Builder
	for _, h := range s.Hosts {
		fmt.Fprintf(&hosts, "%s\t%s\n", h.Addr, h.Name)
	}
	return a.e.RunStep(ctx, engine.Step{
		ID: s.ID, Rootfs: s.Rootfs, ReadOnly: s.ReadOnly, Mounts: s.Mounts, Process: s.Process, Hostname: s.Hostname,
		Hosts: hosts.String(), Network: s.Network,
		Streams: engine.Streams{Stdin: s.Stdin, Stdout: s.Stdout, Stderr: s.Stderr},
	})
}
