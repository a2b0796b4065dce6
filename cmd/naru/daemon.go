//go:build !front

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	containerdlog "github.com/containerd/log"
	"golang.org/x/sync/errgroup"

	"naru/engine/keeper"
	"naru/engine/network"
	"naru/engine/rootless"
	"naru/internal/cleanup"
)

// serve runs a daemon until ctx ends.
func serve(ctx context.Context, f serverFlags, log *slog.Logger) (err error) {
	// What runs from memory is called by its descriptor's number until it says otherwise.
	if err := os.WriteFile("/proc/self/comm", []byte("naru"), 0); err != nil {
		return fmt.Errorf("name the process: %w", err)
	}
	// containerd and BuildKit write to a logger of their own; what they warn of is no news to who runs naru.
	if err := containerdlog.SetLevel("error"); err != nil {
		return fmt.Errorf("quiet containerd's log: %w", err)
	}
	var undo cleanup.Stack
	defer undo.Run()
	for _, folder := range []struct {
		dir, file string
		mode      os.FileMode
	}{{f.data, "naru.lock", 0o700}, {f.run, "naru.pid", 0o755}} {
		lock, err := lockFolder(folder.dir, folder.file, folder.mode)
		if err != nil {
			return err
		}
		undo.Add(func() { closing(log, "give up the lock of "+folder.dir, lock.Close) })
	}
	undo.Add(tellGoroutines(f.run, log))
	d, err := open(ctx, f, log, &undo)
	if err != nil {
		return err
	}
	api, err := listenAPI(filepath.Join(f.run, socketName))
	if err != nil {
		return err
	}
	web, err := d.listenHTTP(ctx)
	if err != nil {
		return errors.Join(err, api.Close())
	}
	log.Info("naru is ready", "http", web.Addr().String(), "socket", api.Addr().String(), "data", f.data, "version", programVersion())
	err = d.run(ctx, api, web)
	log.Info("naru stops", "containers", len(d.runningContainers(context.WithoutCancel(ctx))))
	return err
}

// run runs every loop until ctx ends or one of them fails. When it returns, all have.
func (d *daemon) run(ctx context.Context, api, web net.Listener) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, loop := range []func(context.Context) error{d.names.Run, d.engine.Run, d.machine.Run, d.rollouts.Run} {
		group.Go(func() error { return loop(ctx) })
	}
	group.Go(func() error { return d.images.Run(ctx, d.log.With("part", "images")) })
	group.Go(func() error { return d.router.Serve(ctx, web) })
	group.Go(func() error { return d.apiServer(ctx).Serve(ctx, api) })
	return group.Wait()
}

// listenAPI opens the socket for commands. The keeper does not keep it: where no daemon answers, a client must learn
// so at once. A file that is there is of a daemon that died, since this one has the folder's lock.
func listenAPI(path string) (net.Listener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("listen for commands: %w", err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen for commands: %w", err)
	}
	if err := restrict(path); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// restrict lets only root, and the group naru where there is one, give commands: whoever may is as good as root. An
// ordinary user's daemon takes commands from that user.
func restrict(path string) error {
	if err := os.Chmod(path, 0o660); err != nil {
		return fmt.Errorf("restrict the command socket: %w", err)
	}
	if rootless.Entered() {
		return nil
	}
	g, err := user.LookupGroup("naru")
	if err != nil {
		return nil // no such group: root only
	}
	gid, err := strconv.Atoi(g.Gid)
	if err != nil {
		return fmt.Errorf("restrict the command socket: group naru: %w", err)
	}
	if err := os.Chown(path, 0, gid); err != nil {
		return fmt.Errorf("restrict the command socket: %w", err)
	}
	return nil
}

// listenHTTP takes the socket for requests from the keeper, so that requests wait, and do not fail, while one daemon
// ends and the next begins. A socket of an address that is no longer asked for is closed.
func (d *daemon) listenHTTP(ctx context.Context) (net.Listener, error) {
	if d.user != nil {
		return d.user.listenHTTP(ctx, d.flags.http)
	}
	l, err := d.keeper.Listen(ctx, "tcp", d.flags.http)
	if err != nil {
		return nil, fmt.Errorf("listen for requests%s: %w", holder(d.flags.http), err)
	}
	names, err := d.keeper.AllKept(ctx)
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	for _, name := range names {
		address, ok := strings.CutPrefix(name, "tcp ")
		if !ok || address == d.flags.http || strings.HasSuffix(address, namePort) {
			continue
		}
		if err := d.keeper.Unlisten(ctx, "tcp", address); err != nil {
			return nil, errors.Join(err, l.Close())
		}
	}
	return l, nil
}

// leave ends the keeper when it has nothing to keep: no container runs, so that no request is lost either.
func (d *daemon) leave(ctx context.Context) error {
	if d.engine == nil || len(d.runningContainers(ctx)) > 0 {
		return nil
	}
	names, err := d.keeper.AllKept(ctx)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := d.keeper.Release(ctx, name); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if err := d.keeper.Quit(ctx); err != nil && !errors.Is(err, keeper.ErrKept) {
		return fmt.Errorf("end the keeper: %w", err)
	}
	return nil
}

// routerGrace bounds how long a daemon that ends waits for requests under way: the next one cannot begin before.
const routerGrace = 5 * time.Second

// routerPatience is how long a request waits when its service has no ready instance: long enough for one that died to be
// replaced.
const routerPatience = 3 * time.Second

// holder names who has a port already, for an error's text; empty when it cannot be told.
func holder(address string) string {
	ip, port, err := parseListen(address)
	if err != nil {
		return ""
	}
	who, err := network.PortHolder("tcp", ip, port)
	if err != nil || who == "" {
		return ""
	}
	return " (taken by " + who + ": stop it, or choose another address with --http)"
}
