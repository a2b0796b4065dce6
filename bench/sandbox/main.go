// Command sandbox measures one container's start without a daemon around it, and through the daemon's API without a
// program around that: `naru-oci run` and `naru oci run` against `runc run` on the same bundle, and create, start, wait
// and remove through the API against the floor, which is what the kernel charges for the same container. All of the
// sandbox is on in the timed cases: users of its own, limits, seccomp, and through the API the network too.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"naru/bench/lab"
	"naru/bench/measure"
	"naru/bench/peer"
)

// bench is what the parts share.
type bench struct {
	*lab.Lab
	ctx        context.Context
	oci, floor string
	parallel   int
	hello      string // the program that every container runs
}

func main() {
	b := bench{}
	flag.StringVar(&b.oci, "naru-oci", "bin/naru-oci", "its OCI runtime alone")
	flag.StringVar(&b.floor, "floor", "bench/floor/floor.c", "the floor's source")
	flag.IntVar(&b.parallel, "parallel", 8, "starts at once, each as many rounds")
	lab.Main(3, 51, func(ctx context.Context, l *lab.Lab) error {
		b.ctx, b.Lab = ctx, l
		return b.run()
	})
}

func (b bench) run() (err error) {
	if err := os.Chmod(b.Dir, 0o711); err != nil { // root of a bundle's own users is nobody here, and has to get to its files
		return err
	}
	if b.hello, err = peer.Program(b.ctx, b.Dir, "naru/bench/hello"); err != nil {
		return err
	}
	fmt.Println(measure.Environment())
	if err := b.bundles(); err != nil {
		return err
	}
	return b.engine()
}

// bundles compares the OCI runtimes on the config that runc proposes, and on one with the protection that naru and
// Docker give.
func (b bench) bundles() error {
	runc, err := peer.Runc(b.Peers, b.Dir)
	if err != nil {
		return err
	}
	fmt.Println("\nthe bundle as runc spec proposes it: no users of its own, no limits, no seccomp")
	plain := filepath.Join(b.Dir, "plain")
	if err := runc.Bundle(b.ctx, plain, b.hello); err != nil {
		return err
	}
	if err := b.compare(runc, plain); err != nil {
		return err
	}
	fmt.Println("\nthe same with users of its own, limits and Docker's seccomp policy")
	guarded := filepath.Join(b.Dir, "guarded")
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
	small, whole := peer.NewOCI(b.Dir, b.oci), peer.NewOCI(b.Dir, b.Naru, "oci")
	all, err := b.Alternate(contestant("naru-oci", small), contestant("naru oci", whole), contestant("runc", runc))
	if err != nil {
		for _, runtime := range []peer.OCI{small, whole, runc} {
			runtime.Clear()
		}
		return err
	}
	measure.Versus(all[0], all[2], 1.0/3)
	measure.Versus(all[1], all[2], 1.0/3)
	return nil
}
