// Package lab is one run of a benchmark: it receives the command line, owns the folder and the engines that the run opens,
// and closes all of them in the end, whichever way the run ended.
package lab

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
	"naru/internal/testkit"
)

// Lab is where a benchmark's run takes place.
type Lab struct {
	Dir   string // removed in the end
	Naru  string // the naru program
	Peers string // where make deps unpacked the peers

	Warmup, Rounds int

	undo   cleanup.Stack
	failed error // what undo has to say
}

// Main is the main function of a benchmark whose run is bench. The flags that all of them have are added to those that it
// has of its own: rounds that do not count, and that do, are by default as many as given.
func Main(warmup, rounds int, bench func(ctx context.Context, l *Lab) error) {
	l := &Lab{}
	flag.StringVar(&l.Naru, "naru", "bin/naru", "the naru program")
	flag.StringVar(&l.Peers, "deps", testkit.DebianDir(), "where make deps unpacked the peers")
	flag.IntVar(&l.Warmup, "warmup", warmup, "rounds that do not count")
	flag.IntVar(&l.Rounds, "rounds", rounds, "rounds that count")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := l.run(ctx, bench); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func (l *Lab) run(ctx context.Context, bench func(ctx context.Context, l *Lab) error) (err error) {
	if l.Dir, err = os.MkdirTemp("", "nb"); err != nil {
		return err
	}
	defer func() {
		l.undo.Run()
		err = errors.Join(err, l.failed)
	}()
	l.Closing(func() error { return os.RemoveAll(l.Dir) })
	return bench(ctx, l)
}

// Closing has something closed in the end, before all that came earlier.
func (l *Lab) Closing(f func() error) {
	l.undo.Add(func() { l.failed = errors.Join(l.failed, f()) })
}

// Rootfs is an image, as a tar, of one command of this tree; it stands at the image's top under the last element of its
// package's path.
func (l *Lab) Rootfs(ctx context.Context, pkg string) (tar string, err error) {
	program, err := peer.Program(ctx, l.Dir, pkg)
	if err != nil {
		return "", err
	}
	return peer.Rootfs(l.Dir, program)
}

// StartNaru starts a naru daemon that has the image, under the name given, in the host's network or the one given.
func (l *Lab) StartNaru(ctx context.Context, in *peer.NetNS, rootfs, name string) (*peer.Naru, error) {
	naru, err := peer.StartNaru(ctx, l.Naru, l.Dir, in)
	if err != nil {
		return nil, err
	}
	l.Closing(naru.Stop)
	return naru, naru.Import(rootfs, name)
}

// StartDocker starts a dockerd that has the image, under the name given, in a network of its own.
func (l *Lab) StartDocker(ctx context.Context, rootfs, name string) (*peer.Docker, error) {
	docker, err := peer.StartDocker(ctx, l.Peers, l.Dir)
	if err != nil {
		return nil, err
	}
	l.Closing(docker.Stop)
	return docker, docker.Import(rootfs, name)
}

// Alternate runs the contestants in turn, for as many rounds as the command line says, and prints a line for each.
func (l *Lab) Alternate(contestants ...measure.Contestant) ([]measure.Series, error) {
	all, err := measure.Alternate(l.Warmup, l.Rounds, contestants...)
	if err == nil {
		measure.Print(all...)
	}
	return all, err
}
