// Command port measures the way through a published port: one stream, and connections one after the other, from a network
// namespace of the client's own over a veth pair, as from another machine. naru's way is compared with the direct one to
// the same process in the same container, over a bridge and veth pairs like naru's without any rule on the way, and with
// that of dockerd.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
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
	megabytes      int
	connections    int
}

func main() {
	var o options
	flag.StringVar(&o.naru, "naru", "bin/naru", "the naru program")
	flag.StringVar(&o.deps, "deps", peer.Deps(), "where make deps unpacked Docker")
	flag.IntVar(&o.warmup, "warmup", 3, "rounds that do not count")
	flag.IntVar(&o.rounds, "rounds", 51, "rounds that count")
	flag.IntVar(&o.megabytes, "megabytes", 128, "length of the stream of one round")
	flag.IntVar(&o.connections, "connections", 200, "connections of one round")
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
	sink, err := peer.Program(ctx, dir, "naru/bench/sink")
	if err != nil {
		return err
	}
	rootfs, err := peer.Rootfs(dir, sink)
	if err != nil {
		return err
	}
	l := &lab{options: o, ctx: ctx, dir: dir, rootfs: rootfs, undo: &undo, failed: &err}
	for _, open := range []func() error{l.openClient, l.openNaru, l.openDirect, l.openDocker} {
		if err := open(); err != nil {
			return err
		}
	}
	fmt.Printf("%s\n\none stream of %d MB to a published port\n", measure.Environment(), o.megabytes)
	if err := l.compare(l.stream, float64(o.megabytes)*8e-3, "Gbit/s"); err != nil {
		return err
	}
	fmt.Printf("\n%d connections to a published port, one after the other\n", o.connections)
	return l.compare(l.connect, float64(o.connections), "connections/s")
}

// compare runs one thing over every way in turn. Work is how much of the unit a round does.
func (l *lab) compare(do func(address string) error, work float64, unit string) error {
	var contestants []measure.Contestant
	for _, w := range l.ways {
		contestants = append(contestants, measure.Contestant{Name: w.name, Do: func() error { return do(w.address) }})
	}
	all, err := measure.Alternate(l.warmup, l.rounds, contestants...)
	if err != nil {
		return err
	}
	measure.Print(all...)
	for _, s := range all {
		fmt.Printf("%-12s %.4g %s\n", s.Name, work/s.Median().Seconds(), unit)
	}
	naru, direct, docker := all[0], all[1], all[2]
	measure.AtLeast("naru / direct", measure.Ratio(direct, naru), 0.95)
	measure.AtLeast("naru / docker", measure.Ratio(docker, naru), 1)
	return nil
}

// patience bounds how long one round may take: a way that leads nowhere must not hold the benchmark up for ever.
const patience = 30 * time.Second
