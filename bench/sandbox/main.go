// Command sandbox measures one container's start without a daemon around it, and through the daemon's API without a
// program around that: `naru-oci run` and `naru oci run` against `runc run` on the same bundle, and create, start, wait
// and remove through the API against the floor, which is what the kernel charges for the same container. All of the
// sandbox is on in the timed cases: users of its own, limits, seccomp, and through the API the network too.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"naru/bench/measure"
	"naru/bench/peer"
	"naru/internal/cleanup"
)

type options struct {
	naru, oci, deps, floor string
	warmup, rounds         int
	parallel               int
}

func main() {
	var o options
	flag.StringVar(&o.naru, "naru", "bin/naru", "the naru program")
	flag.StringVar(&o.oci, "naru-oci", "bin/naru-oci", "its OCI runtime alone")
	flag.StringVar(&o.deps, "deps", peer.Deps(), "where make deps unpacked runc")
	flag.StringVar(&o.floor, "floor", "bench/floor/floor.c", "the floor's source")
	flag.IntVar(&o.warmup, "warmup", 3, "rounds that do not count")
	flag.IntVar(&o.rounds, "rounds", 51, "rounds that count")
	flag.IntVar(&o.parallel, "parallel", 8, "starts at once, each as many rounds")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// bench is what the parts share.
type bench struct {
	options
	ctx   context.Context
	dir   string
	hello string // the program that every container runs
}

func run(ctx context.Context, o options) (err error) {
	dir, err := os.MkdirTemp("", "nb")
	if err != nil {
		return err
	}
	var undo cleanup.Stack
	defer undo.Run()
	undo.Add(func() { err = errors.Join(err, os.RemoveAll(dir)) })
	if err := os.Chmod(dir, 0o711); err != nil { // root of a bundle's own users is nobody here, and has to get to its files
		return err
	}
	hello, err := peer.Program(ctx, dir, "naru/bench/hello")
	if err != nil {
		return err
	}
	fmt.Println(measure.Environment())
	b := bench{o, ctx, dir, hello}
	if err := b.bundles(); err != nil {
		return err
	}
	return b.engine(&undo, &err)
}

// bundles compares the OCI runtimes on the config that runc proposes, and on one with the protection that naru and
// Docker give.
func (b bench) bundles() error {
	runc, err := peer.Runc(b.deps, b.dir)
	if err != nil {
		return err
	}
	fmt.Println("\nthe bundle as runc spec proposes it: no users of its own, no limits, no seccomp")
	plain := filepath.Join(b.dir, "plain")
	if err := runc.Bundle(b.ctx, plain, b.hello); err != nil {
		return err
	}
	if err := b.compare(runc, plain); err != nil {
		return err
	}
	fmt.Println("\nthe same with users of its own, limits and Docker's seccomp policy")
	guarded := filepath.Join(b.dir, "guarded")
	if err := runc.Bundle(b.ctx, guarded, b.hello, peer.Guarded); err != nil {
		return err
	}
	return b.compare(runc, guarded)
}

// compare runs one bundle with every runtime in turn, the whole process each time.
func (b bench) compare(runc peer.OCI, bundle string) error {
	contestant := func(name string, runtime peer.OCI) measure.Contestant {
		return measure.Contestant{Name: name, Do: func() error { return runtime.Run(b.ctx, bundle, "hello\n") }}
	}
	small, whole := peer.NewOCI(b.dir, b.oci), peer.NewOCI(b.dir, b.naru, "oci")
	all, err := measure.Alternate(b.warmup, b.rounds,
		contestant("naru-oci", small), contestant("naru oci", whole), contestant("runc", runc))
	if err != nil {
		for _, runtime := range []peer.OCI{small, whole, runc} {
			runtime.Clear()
		}
		return err
	}
	measure.Print(all...)
	measure.Versus(all[0], all[2], 1.0/3)
	measure.Versus(all[1], all[2], 1.0/3)
	return nil
}
