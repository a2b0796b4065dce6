// Package delivery joins the hops that turn code into a running release: it receives an app's spec (from a folder now,
// from a push later), has each service's image built or found, has a release minted of them, and follows the rollout
// that the mint began. It owns no table: what must survive a crash is in the hops' tables by then, and a rollout
// continues whether or not anyone follows it.
package delivery

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"naru/naru"
)

// Builder makes an image of a service.
type Builder interface {
	Build(ctx context.Context, ae naru.AppEnv, s naru.ServiceSpec, session string, progress func(BuildProgress)) (naru.Digest, error)
}

// Images finds an image by its reference, a local one, else one pulled; and keeps the images of an app's releases, and no
// others for it, so that they can be rolled back to when their names have long meant others.
type Images interface {
	Resolve(ctx context.Context, reference string) (naru.Digest, error)
	Keep(ctx context.Context, ae naru.AppEnv, releases []naru.Release) error
}

// Delivery carries changes through the hops.
type Delivery struct {
	Builder  Builder
	Images   Images
	Releases Releases
	Rollouts Rollouts
	Volumes  Volumes
	Target   Target
	URLs     func(naru.Release) []string // where a release's routes answer

	keeping sync.Mutex // of images: an older list must not come after a newer one
}

// Up is a request to bring an app to what its spec says.
type Up struct {
	naru.AppEnv
	Spec    naru.AppSpec
	Session string // the build session that serves the app's folder
	Reason  string
	Detach  bool // do not wait for the rollout
}

// parallelBuilds bounds the images made at a time for one Up; BuildKit shares steps between them.
const parallelBuilds = 4

// Up makes the images, mints a release and follows its rollout to the end. It tells emit what happens, one event at a
// time, and returns an error when the app is not as the spec says at the end; what served before then still serves.
func (d *Delivery) Up(ctx context.Context, up Up, emit func(Event)) error {
	if err := up.validate(); err != nil {
		return err
	}
	emit = oneAtATime(emit)
	services, err := d.images(ctx, up, emit)
	if err != nil {
		return err
	}
	release, rolling, err := d.Releases.Mint(ctx, up.AppEnv, services, up.Reason)
	if err != nil {
		return err
	}
	if rolling {
		// After the mint: until its next build an image has its name to hold it, and a daemon that dies here keeps the
		// images of all releases when it starts again.
		if err := d.keepImages(ctx, up.AppEnv); err != nil {
			return err
		}
	}
	return d.finish(ctx, release, rolling, up.Detach, emit)
}

// KeepImages keeps the images of every release there is.
func (d *Delivery) KeepImages(ctx context.Context) error {
	apps, err := d.Releases.AppEnvs(ctx)
	if err != nil {
		return fmt.Errorf("keep the images of releases: %w", err)
	}
	for _, ae := range apps {
		if err := d.keepImages(ctx, ae); err != nil {
			return err
		}
	}
	return nil
}

func (d *Delivery) keepImages(ctx context.Context, ae naru.AppEnv) error {
	d.keeping.Lock()
	defer d.keeping.Unlock()
	releases, err := d.Releases.List(ctx, ae)
	if err != nil {
		return fmt.Errorf("keep the images of %s: %w", ae, err)
	}
	return d.Images.Keep(ctx, ae, releases)
}

// images finds or makes the image of every service; services that are built alike share one build.
func (d *Delivery) images(ctx context.Context, up Up, emit func(Event)) ([]naru.ReleasedService, error) {
	out := make([]naru.ReleasedService, len(up.Spec.Services))
	for i, s := range up.Spec.Services {
		out[i].ServiceSpec = s
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallelBuilds)
	for _, alike := range groupByImage(up.Spec.Services) {
		group.Go(func() error {
			digest, err := d.image(ctx, up, alike, emit)
			if err != nil {
				return err
			}
			for _, i := range alike {
				out[i].ImageDigest = digest
				emit(Event{Image: &ImageChosen{out[i].Name, digest, out[i].Build != nil}})
			}
			return nil
		})
	}
	return out, group.Wait()
}

// image finds or makes the one image of services that are alike in it.
func (d *Delivery) image(ctx context.Context, up Up, alike []int, emit func(Event)) (naru.Digest, error) {
	first := up.Spec.Services[alike[0]]
	if first.Build == nil {
		digest, err := d.Images.Resolve(ctx, first.Image)
		if err != nil {
			return "", fmt.Errorf("find image of service %s: %w", first.Name, err)
		}
		return digest, nil
	}
	names := make([]naru.ServiceName, len(alike))
	for i, at := range alike {
		names[i] = up.Spec.Services[at].Name
	}
	digest, err := d.Builder.Build(ctx, up.AppEnv, first, up.Session, func(p BuildProgress) {
		p.Services = names
		emit(Event{Build: &p})
	})
	if err != nil {
		return "", err
	}
	return digest, nil
}

// groupByImage gives the indexes of the services, those with the same image or build together, in the order of services.
func groupByImage(services []naru.ServiceSpec) [][]int {
	var keys []string
	groups := map[string][]int{}
	for i, s := range services {
		key := imageKey(s)
		if !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
		groups[key] = append(groups[key], i)
	}
	out := make([][]int, len(keys))
	for i, key := range keys {
		out[i] = groups[key]
	}
	return out
}

func imageKey(s naru.ServiceSpec) string {
	b, err := json.Marshal(struct {
		Image string
		Build *naru.BuildSpec
	}{s.Image, s.Build})
	if err != nil {
		panic("delivery: a BuildSpec does not marshal: " + err.Error()) // plain data always marshals
	}
	return string(b)
}
