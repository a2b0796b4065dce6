// Command port measures the way through a published port: one stream, and connections one after the other, from a network
// namespace of the client's own over a veth pair, as from another machine. naru's way is compared with the direct one to
// the same process in the same container, over a bridge and veth pairs like naru's without any rule on the way, and with
// that of dockerd.
package main

import (
	"context"
	"flag"
	"fmt"
	"time"

	"naru/bench/lab"
	"naru/bench/measure"
)

func main() {
	megabytes := flag.Int("megabytes", 128, "length of the stream of one round")
	connections := flag.Int("connections", 200, "connections of one round")
	lab.Main(3, 51, func(ctx context.Context, l *lab.Lab) error {
		o := &outside{Lab: l, ctx: ctx, megabytes: *megabytes, connections: *connections}
		return o.bench()
	})
}

func (o *outside) bench() (err error) {
	if o.rootfs, err = o.Rootfs(o.ctx, "naru/bench/sink"); err != nil {
		return err
	}
	for _, open := range []func() error{o.openClient, o.openNaru, o.openDirect, o.openDocker} {
		if err := open(); err != nil {
			return err
		}
	}
	fmt.Printf("%s\n\none stream of %d MB to a published port\n", measure.Environment(), o.megabytes)
	if err := o.compare(o.stream, float64(o.megabytes)*8e-3, "Gbit/s"); err != nil {
		return err
	}
	fmt.Printf("\n%d connections to a published port, one after the other\n", o.connections)
	return o.compare(o.connect, float64(o.connections), "connections/s")
}

// compare runs one thing over every way in turn. Work is how much of the unit a round does.
func (o *outside) compare(do func(address string) error, work float64, unit string) error {
	var contestants []measure.Contestant
	for _, w := range o.ways {
		contestants = append(contestants, measure.Contestant{Name: w.name, Do: func() error { return do(w.address) }})
	}
	all, err := o.Alternate(contestants...)
	if err != nil {
		return err
	}
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
