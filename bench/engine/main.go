// Command engine measures what many containers cost, on naru and on dockerd in the same run: how fast they start, whether
// a start takes longer when many run, what an engine needs of memory and time for them beyond their own processes, how
// long a list of them takes, and how long one more process in one of them.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"naru/bench/measure"
	"naru/bench/peer"
	"naru/internal/cleanup"
)

type options struct {
	naru, deps     string
	warmup, rounds int
	many, docker   int
	parallel       int
	idle           time.Duration
}

func main() {
	var o options
	flag.StringVar(&o.naru, "naru", "bin/naru", "the naru program")
	flag.StringVar(&o.deps, "deps", peer.Deps(), "where make deps unpacked Docker")
	flag.IntVar(&o.warmup, "warmup", 2, "rounds that do not count")
	flag.IntVar(&o.rounds, "rounds", 15, "rounds that count")
	flag.IntVar(&o.many, "containers", 1000, "containers of naru")
	flag.IntVar(&o.docker, "docker", 200, "containers of dockerd; 0: without dockerd")
	flag.IntVar(&o.parallel, "parallel", 4, "starts at once while they become many")
	flag.DurationVar(&o.idle, "idle", 10*time.Second, "how long idle engines are watched")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// bench is the engines and how they are compared: naru is the first of them.
type bench struct {
	options
	ctx   context.Context
	sides []*side
}

func run(ctx context.Context, o options) (err error) {
	dir, err := os.MkdirTemp("", "nb")
	if err != nil {
		return err
	}
	var undo cleanup.Stack
	defer undo.Run()
	undo.Add(func() { err = errors.Join(err, os.RemoveAll(dir)) })
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		return fmt.Errorf("find what containers run: %w (run make deps)", err)
	}
	rootfs, err := peer.Rootfs(dir, busybox)
	if err != nil {
		return err
	}
	b := bench{options: o, ctx: ctx}
	if err := b.open(dir, rootfs, &undo, &err); err != nil {
		return err
	}
	for _, part := range []func() error{b.exec, b.grow, b.list, b.idleTime, b.memory} {
		if err := part(); err != nil {
			return err
		}
	}
	return nil
}

// open starts the engines, each in a network of its own. What is opened is closed by undo, which may add to failed.
func (b *bench) open(dir, rootfs string, undo *cleanup.Stack, failed *error) error {
	network, err := peer.NewNetNS()
	if err != nil {
		return err
	}
	undo.Add(func() { *failed = errors.Join(*failed, network.Close()) })
	naru, err := peer.StartNaru(b.ctx, b.naru, dir, network)
	if err != nil {
		return err
	}
	undo.Add(func() { *failed = errors.Join(*failed, naru.Stop()) })
	b.sides = []*side{{name: "naru", engine: naru, most: b.many}}
	fmt.Println(measure.Environment())
	if err := naru.Import(rootfs, "busybox"); err != nil || b.docker == 0 {
		return err
	}
	docker, err := peer.StartDocker(b.ctx, b.deps, dir)
	if err != nil {
		return err
	}
	undo.Add(func() { *failed = errors.Join(*failed, docker.Stop()) })
	b.sides = append(b.sides, &side{name: "docker", engine: docker, most: b.docker})
	fmt.Println("dockerd", docker.Version())
	return docker.Import(rootfs, "busybox")
}
