// Command engine measures what many containers cost, on naru and on dockerd in the same run: how fast they start, whether
// a start takes longer when many run, what an engine needs of memory and time for them beyond their own processes, how
// long a list of them takes, and how long one more process in one of them.
package main

import (
	"context"
	"flag"
	"fmt"
	"os/exec"
	"time"

	"naru/bench/lab"
	"naru/bench/measure"
	"naru/bench/peer"
)

// bench is the engines and how they are compared: naru is the first of them.
type bench struct {
	*lab.Lab
	ctx          context.Context
	many, docker int
	parallel     int
	idle         time.Duration
	sides        []*side
}

func main() {
	b := &bench{}
	flag.IntVar(&b.many, "containers", 1000, "containers of naru")
	flag.IntVar(&b.docker, "docker", 200, "containers of dockerd; 0: without dockerd")
	flag.IntVar(&b.parallel, "parallel", 4, "starts at once while they become many")
	flag.DurationVar(&b.idle, "idle", 10*time.Second, "how long idle engines are watched")
	lab.Main(2, 15, func(ctx context.Context, l *lab.Lab) error {
		b.ctx, b.Lab = ctx, l
		return b.run()
	})
}

func (b *bench) run() error {
	if err := b.open(); err != nil {
		return err
	}
	for _, part := range []func() error{b.exec, b.grow, b.list, b.idleTime, b.memory} {
		if err := part(); err != nil {
			return err
		}
	}
	return nil
}

// open starts the engines, each in a network of its own.
func (b *bench) open() error {
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		return fmt.Errorf("find what containers run: %w (run make deps)", err)
	}
	rootfs, err := peer.Rootfs(b.Dir, busybox)
	if err != nil {
		return err
	}
	network, err := peer.NewNetNS()
	if err != nil {
		return err
	}
	b.Closing(network.Close)
	naru, err := b.StartNaru(b.ctx, network, rootfs, "busybox")
	if err != nil {
		return err
	}
	b.sides = []*side{{name: "naru", engine: naru, most: b.many}}
	fmt.Println(measure.Environment())
	if b.docker == 0 {
		return nil
	}
	docker, err := b.StartDocker(b.ctx, rootfs, "busybox")
	if err != nil {
		return err
	}
	b.sides = append(b.sides, &side{name: "docker", engine: docker, most: b.docker})
	fmt.Println("dockerd", docker.Version())
	return nil
}
