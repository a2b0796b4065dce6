package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"

	"naru/api"
	"naru/api/client"
	"naru/bench/measure"
	"naru/bench/peer"
	"naru/naru"
)

// engine compares the daemon's API with the floor, and then lets many start at once.
func (b bench) engine() error {
	image, err := b.floorImage()
	if err != nil {
		return err
	}
	floor, err := peer.StartFloor(b.ctx, b.floor, b.Dir, image, "/hello")
	if err != nil {
		return err
	}
	b.Closing(floor.Stop)
	rootfs, err := peer.Rootfs(b.Dir, b.hello)
	if err != nil {
		return err
	}
	daemon, err := b.StartNaru(b.ctx, nil, rootfs, "hello")
	if err != nil {
		return err
	}
	hello := measure.Contestant{Name: "naru's API", Do: func() error { return b.request(daemon) }}

	fmt.Println("\ncreate, start, wait and remove by one request to the API, with network, limits, seccomp and users of its own")
	all, err := b.Alternate(hello, measure.Contestant{Name: "floor", Own: floor.Run})
	if err != nil {
		return err
	}
	measure.Versus(all[0], all[1], 4)

	fmt.Printf("\nthe same, %d at once\n", b.parallel)
	together, err := measure.Together(b.parallel, b.Rounds, hello)
	if err != nil {
		return err
	}
	measure.Print(together)
	worst := float64(together.Quantile(0.99)) / float64(together.Median())
	measure.AtMost(fmt.Sprintf("p99 / median of %d at once", b.parallel), worst, 3)
	return nil
}

// floorImage is the folder that the floor's containers have as their image.
func (b bench) floorImage() (string, error) {
	image := filepath.Join(b.Dir, "image")
	for _, folder := range []string{"proc", "dev", "sys"} {
		if err := os.MkdirAll(filepath.Join(image, folder), 0o755); err != nil {
			return "", err
		}
	}
	return image, os.Link(b.hello, filepath.Join(image, "hello"))
}

// request is one container from nothing to nothing: the answer ends when it is removed.
func (b bench) request(daemon *peer.Naru) error {
	var out bytes.Buffer
	spec := api.ContainerSpec{Image: "hello", Command: []string{"/hello"}, AutoRemove: true,
		Limits: naru.Limits{MemoryBytes: 64 << 20, NanoCPUs: 1e9, PIDs: 100}}
	status, err := daemon.API.RunContainer(b.ctx, api.ContainerRun{Spec: spec}, client.Streams{Stdout: &out, Stderr: &out})
	if err != nil {
		return fmt.Errorf("run a container through the API: %w", err)
	}
	if status != 0 || out.String() != "hello\n" {
		return fmt.Errorf("the container ended with status %d and printed %q, want 0 and %q", status, out.String(), "hello\n")
	}
	return nil
}
