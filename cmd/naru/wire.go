//go:build !front

package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"naru/api/server"
	"naru/delivery"
	"naru/delivery/builder"
	"naru/delivery/release"
	"naru/delivery/rollout"
	"naru/edge/dns"
	"naru/edge/router"
	"naru/engine"
	"naru/engine/forward"
	"naru/engine/image"
	"naru/engine/keeper"
	"naru/internal/cleanup"
	"naru/store"
	"naru/target/machine"
)

// daemon is everything that runs, joined.
type daemon struct {
	flags   serverFlags
	forward []engine.Destination
	log     *slog.Logger

	store    *store.Store
	images   *image.Store
	keeper   *keeper.Client
	user     *ordinaryUser // who started the daemon; nil: root
	names    *dns.Server
	engine   *engine.Engine
	router   *router.Router
	machine  *machine.Machine
	rollouts *rollout.Rollouts
	releases *release.Releases
	builder  *builder.Builder
	delivery *delivery.Delivery
}

// open opens every part, from the ground up; undo closes them again, the last one first. Nothing serves yet.
func open(ctx context.Context, f serverFlags, log *slog.Logger, undo *cleanup.Stack) (*daemon, error) {
	d := &daemon{flags: f, log: log}
	for _, name := range f.forward {
		to, err := forward.Open(name, os.Stdout)
		if err != nil {
			return nil, err
		}
		d.forward = append(d.forward, engine.Destination{Name: name, To: to})
	}
	for _, part := range []func(context.Context, *cleanup.Stack) error{
		d.openStores, d.openEngine, d.openTarget, d.openDelivery,
	} {
		if err := part(ctx, undo); err != nil {
			return nil, err
		}
	}
	return d, nil
}

func (d *daemon) openStores(ctx context.Context, undo *cleanup.Stack) (err error) {
	if d.store, err = store.Open(ctx, filepath.Join(d.flags.data, "naru.db")); err != nil {
		return err
	}
	undo.Add(func() { closing(d.log, "close the database", d.store.Close) })
	if d.images, err = image.Open(ctx, filepath.Join(d.flags.data, "images")); err != nil {
		return fmt.Errorf("open the image store: %w", err)
	}
	undo.Add(func() { closing(d.log, "close the image store", d.images.Close) })
	return nil
}

func (d *daemon) openEngine(ctx context.Context, undo *cleanup.Stack) (err error) {
	if d.keeper, err = keeper.Ensure(ctx, keeper.Options{Dir: d.flags.run}); err != nil {
		return err
	}
	undo.Add(func() { closing(d.log, "let the keeper go", d.keeper.Close) })
	undo.Add(func() {
		closing(d.log, "end the keeper", func() error { return d.leave(context.WithoutCancel(ctx)) })
	})
	if err := d.openUser(ctx, undo); err != nil {
		return err
	}
	d.names = dns.New(dns.Config{Upstreams: dns.ResolvConf("/etc/resolv.conf"), Log: d.log})
	cfg := engine.Config{
		Store: d.store, Images: d.images, Keeper: d.keeper, Resolver: &resolver{keeper: d.keeper, server: d.names},
		DataDir: d.flags.data, Subnet: d.flags.subnet, Forward: d.forward, Log: d.log.With("part", "engine"),
	}
	if err := d.asUser(&cfg, undo); err != nil {
		return err
	}
	if d.engine, err = engine.Open(ctx, cfg); err != nil {
		return fmt.Errorf("open the engine: %w", err)
	}
	undo.Add(func() { d.engine.Close(context.WithoutCancel(ctx)) })
	if err := d.engine.Adopt(ctx); err != nil {
		return fmt.Errorf("take over the containers of the daemon before: %w", err)
	}
	return nil
}

func (d *daemon) openTarget(ctx context.Context, _ *cleanup.Stack) (err error) {
	d.router = router.New(router.Options{Log: d.log.With("part", "router"), Grace: routerGrace, Patience: routerPatience})
	d.machine, err = machine.Open(ctx, machine.Config{
		Engine: d.engine, Store: d.store, Router: d.router, Log: d.log.With("part", "machine"),
	})
	return err
}

func (d *daemon) openDelivery(ctx context.Context, undo *cleanup.Stack) (err error) {
	d.rollouts = rollout.New(rollout.Config{
		Store: d.store, Target: d.machine, Releases: release.Table{}, Domain: d.flags.domain, Log: d.log.With("part", "rollout"),
	})
	d.releases = release.New(d.store, d.rollouts)
	d.builder, err = builder.New(ctx, builder.Config{
		Dir: filepath.Join(d.flags.data, "builder"), Images: d.images, Store: d.store, Steps: steps{d.engine},
	})
	if err != nil {
		return err
	}
	undo.Add(func() { closing(d.log, "close the builder", d.builder.Close) })
	d.delivery = &delivery.Delivery{
		Builder: builds{d.builder}, Images: resolve{d.images}, Releases: d.releases, Rollouts: d.rollouts,
		Volumes: d.machine, Target: d.machine, URLs: d.urls,
	}
	return d.delivery.KeepImages(ctx)
}

// apiServer joins the API to what it asks.
func (d *daemon) apiServer(ctx context.Context) *server.Server {
	apps := &apps{releases: d.releases, rollouts: d.rollouts, machine: d.machine, urls: d.urls}
	return server.New(ctx, server.Config{
		Version:  programVersion(),
		Delivery: d.delivery,
		Apps:     apps, Instances: apps, Logs: containerLogs{d.engine},
		Processes:  processes{engine: d.engine, machine: d.machine, rollouts: d.rollouts},
		Containers: containers{d.engine}, Lifecycle: containers{d.engine}, Files: containers{d.engine}, Images: images{d.images}, Sessions: d.builder,
		Networks: networks{d.engine},
		Volumes:  volumes{d.engine, d.releases}, System: system{d.engine, d.images, d.builder},
		Log: d.log.With("part", "api"),
	})
}

// runningContainers are the ids of those that run.
func (d *daemon) runningContainers(ctx context.Context) []string {
	list, err := d.engine.List(ctx)
	if err != nil {
		return nil
	}
	var ids []string
	for _, c := range list {
		if c.State == engine.Running || c.State == engine.Starting {
			ids = append(ids, c.ID)
		}
	}
	return ids
}
