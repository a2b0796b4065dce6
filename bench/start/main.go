// Command start measures what a container costs from nothing to nothing: `naru container run --rm` against `docker run
// --rm`, the whole client process each time, of the same static hello with all six namespaces, a cgroup, an overlay
// root, and a veth to a bridge.
package main

import (
	"context"
	"fmt"

	"naru/bench/lab"
	"naru/bench/measure"
)

func main() { lab.Main(3, 31, bench) }

func bench(ctx context.Context, l *lab.Lab) error {
	rootfs, err := l.Rootfs(ctx, "naru/bench/hello")
	if err != nil {
		return err
	}
	naru, err := l.StartNaru(ctx, nil, rootfs, "hello")
	if err != nil {
		return err
	}
	docker, err := l.StartDocker(ctx, rootfs, "hello")
	if err != nil {
		return err
	}
	fmt.Printf("container start: run --rm of a static hello, whole process\n%s, dockerd %s\n", measure.Environment(), docker.Version())
	all, err := l.Alternate(
		measure.Contestant{Name: "naru", Do: contest(ctx, naru.Run)},
		measure.Contestant{Name: "docker", Do: contest(ctx, docker.Run)})
	if err != nil {
		return err
	}
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
