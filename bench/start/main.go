// Command start measures what a container costs from nothing to nothing: `naru container run --rm` against `docker run
// --rm`, the whole client process each time, of the same static hello with all six namespaces, a cgroup, an overlay
// root, and a veth to a bridge.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"naru/bench/measure"
	"naru/bench/peer"
	"naru/internal/cleanup"
)

type options struct {
	naru           string
	deps           string
	warmup, rounds int
}

func main() {
	var o options
	flag.StringVar(&o.naru, "naru", "bin/naru", "the naru program")
	flag.StringVar(&o.deps, "deps", peer.Deps(), "where make deps unpacked Docker")
	flag.IntVar(&o.warmup, "warmup", 3, "rounds that do not count")
	flag.IntVar(&o.rounds, "rounds", 31, "rounds that count")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) (err error) {
	dir, err := os.MkdirTemp("", "nb")
	if err != nil {
		return err
	}
	var undo cleanup.Stack
	defer undo.Run()
	undo.Add(func() { err = errors.Join(err, os.RemoveAll(dir)) })
	hello, err := peer.Program(ctx, dir, "naru/bench/hello")
	if err != nil {
		return err
	}
	rootfs, err := peer.Rootfs(dir, hello)
	if err != nil {
		return err
	}

	naru, err := peer.StartNaru(ctx, o.naru, dir, nil)
	if err != nil {
		return err
	}
	undo.Add(func() { err = errors.Join(err, naru.Stop()) })
	docker, err := peer.StartDocker(ctx, o.deps, dir)
	if err != nil {
		return err
	}
	undo.Add(func() { err = errors.Join(err, docker.Stop()) })
	if err := errors.Join(naru.Import(rootfs, "hello"), docker.Import(rootfs, "hello")); err != nil {
		return err
	}

	fmt.Printf("container start: run --rm of a static hello, whole process\n%s, dockerd %s\n", measure.Environment(), docker.Version())
	all, err := measure.Alternate(o.warmup, o.rounds,
		measure.Contestant{Name: "naru", Do: contest(ctx, naru.Run)},
		measure.Contestant{Name: "docker", Do: contest(ctx, docker.Run)})
	if err != nil {
		return err
	}
	measure.Print(all...)
	measure.Versus(all[0], all[1], 1.0/25)
	return nil
}

// contest is one round of either side; it ends the run when ctx has.
func contest(ctx context.Context, run func(image, command, want string) error) func() error {
	return func() error {
		if err := ctx.Err(); err != nil {
			return err
		}
		return run("hello", "/hello", "hello\n")
	}
}
