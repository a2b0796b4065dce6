//go:build !front

package main

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"naru/api"
	"naru/delivery/release"
	"naru/delivery/rollout"
	"naru/naru"
	"naru/target"
)

// apps reads releases, rollouts and the target together, as the API shows them.
type apps struct {
	releases *release.Releases
	rollouts *rollout.Rollouts
	machine  target.Target
	urls     func(naru.Release) []string
}

// Apps implements server.Apps.
func (a *apps) Apps(ctx context.Context) ([]api.App, error) {
	all, err := a.releases.AppEnvs(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]api.App, len(all))
	for i, ae := range all {
		if out[i], err = a.app(ctx, ae); err != nil {
			return nil, fmt.Errorf("look at %s: %w", ae, err)
		}
	}
	return out, nil
}

func (a *apps) app(ctx context.Context, ae naru.AppEnv) (api.App, error) {
	last, err := a.rollouts.Last(ctx, ae)
	if err != nil {
		return api.App{}, err
	}
	app := api.App{AppEnv: ae, Release: last.Goal(), Rollout: last.State, Deployed: last.CreatedAt}
	observed, err := a.machine.Observe(ctx, ae)
	if err != nil {
		return api.App{}, err
	}
	for _, s := range observed.Sets {
		app.Ready += min(s.Ready, s.Wanted)
		app.Wanted += s.Wanted
	}
	if app.Release == 0 {
		return app, nil
	}
	r, err := a.releases.Get(ctx, ae, app.Release)
	app.URLs = a.urls(r)
	return app, err
}

// Config implements server.Apps.
func (a *apps) Config(ctx context.Context, ae naru.AppEnv) (naru.Config, error) {
	return a.releases.Config(ctx, ae)
}

// Releases implements server.Apps.
func (a *apps) Releases(ctx context.Context, ae naru.AppEnv) ([]naru.Release, error) {
	return a.releases.List(ctx, ae)
}

// Rollout implements server.Apps.
func (a *apps) Rollout(ctx context.Context, ae naru.AppEnv) (naru.Rollout, error) {
	return a.rollouts.Last(ctx, ae)
}

// Instances implements server.Instances.
func (a *apps) Instances(ctx context.Context, ae naru.AppEnv) ([]naru.Instance, error) {
	if _, err := a.rollouts.Last(ctx, ae); err != nil {
		return nil, err
	}
	observed, err := a.machine.Observe(ctx, ae)
	if err != nil {
		return nil, err
	}
	var out []naru.Instance
	for _, s := range observed.Sets {
		out = append(out, s.Instances...)
	}
	slices.SortFunc(out, func(x, y naru.Instance) int {
		return cmp.Or(cmp.Compare(x.Service, y.Service), x.StartedAt.Compare(y.StartedAt), cmp.Compare(x.ID, y.ID))
	})
	return out, nil
}

// Watch implements server.Instances.
func (a *apps) Watch() (<-chan struct{}, func()) { return a.machine.Watch() }

// urls are where a release's routes answer, from this machine.
func (d *daemon) urls(r naru.Release) []string {
	_, port, _ := net.SplitHostPort(d.flags.http) // checked at the start
	var out []string
	for _, route := range rollout.Routes(r, d.flags.domain) {
		host := route.Host
		if n, err := strconv.Atoi(port); err != nil || n != 80 {
			host += ":" + port
		}
		out = append(out, "http://"+host+strings.TrimSuffix(route.Path, "/"))
	}
	return out
}
