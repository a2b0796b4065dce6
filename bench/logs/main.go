// Command logs measures what it costs to keep a line that a container prints: processor time of naru's processes against
// that of dockerd and its shim with the json-file driver, for the same program in a container of each.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"naru/bench/lab"
	"naru/bench/measure"
	"naru/bench/peer"
)

// engine is what both of them can.
type engine interface {
	Start(ctx context.Context, spec peer.Spec) (id string, err error)
	Remove(ctx context.Context, id string) error
	Processes(ctx context.Context) ([]int, error)
	PID() int
}

func main() { lab.Main(1, 5, bench) }

func bench(ctx context.Context, l *lab.Lab) error {
	rootfs, err := l.Rootfs(ctx, "naru/bench/lines")
	if err != nil {
		return err
	}
	naru, err := l.StartNaru(ctx, nil, rootfs, "lines")
	if err != nil {
		return err
	}
	docker, err := l.StartDocker(ctx, rootfs, "lines")
	if err != nil {
		return err
	}
	fmt.Printf("what keeping a container's lines costs of a core\n%s, dockerd %s\n", measure.Environment(), docker.Version())
	for _, load := range loads {
		if err := load.compare(ctx, l, naru, docker); err != nil {
			return err
		}
	}
	return nil
}

// load is how a container prints.
type load struct {
	name         string
	lines, burst int
	pause        time.Duration
}

var loads = []load{
	{"as fast as it can", 500_000, 500_000, 0},
	{"a line now and then", 10_000, 1, 500 * time.Microsecond},
}

func (l load) compare(ctx context.Context, run *lab.Lab, naru, docker engine) error {
	fmt.Printf("\n%s: %d lines of 100 bytes, each with a write of its own\n", l.name, l.lines)
	all, err := run.Alternate(
		measure.Contestant{Name: "naru", Own: func() (time.Duration, error) { return l.cost(ctx, naru) }},
		measure.Contestant{Name: "docker", Own: func() (time.Duration, error) { return l.cost(ctx, docker) }})
	if err != nil {
		return err
	}
	for _, s := range all {
		fmt.Printf("%-12s %.2f µs a line\n", s.Name, float64(s.Median().Nanoseconds())/1e3/float64(l.lines))
	}
	measure.Versus(all[0], all[1], 1)
	return nil
}

// cost is the time that the engine's processes use while a container prints.
func (l load) cost(ctx context.Context, e engine) (used time.Duration, err error) {
	id, err := e.Start(ctx, peer.Spec{Image: "lines", Command: []string{"/lines", strconv.Itoa(l.lines), strconv.Itoa(l.burst), l.pause.String()}})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, e.Remove(context.WithoutCancel(ctx), id)) }()
	pids, err := e.Processes(ctx)
	if err != nil {
		return 0, err
	}
	if len(pids) != 1 {
		return 0, fmt.Errorf("%d containers run, where one should", len(pids))
	}
	if err := called(ctx, pids[0], "ready"); err != nil {
		return 0, err
	}
	own, err := measure.Overhead(e.PID(), pids)
	if err != nil {
		return 0, err
	}
	return l.measure(ctx, pids[0], own)
}

func (l load) measure(ctx context.Context, container int, own []int) (time.Duration, error) {
	before, err := measure.CPU(own)
	if err != nil {
		return 0, err
	}
	if err := syscall.Kill(container, syscall.SIGUSR1); err != nil {
		return 0, err
	}
	if err := called(ctx, container, "done"); err != nil {
		return 0, err
	}
	if err := pause(ctx, settle); err != nil {
		return 0, err
	}
	after, err := measure.CPU(own)
	return after - before, err
}

const (
	settle = 300 * time.Millisecond // for what is still in the pipe when all is printed
	glance = 20 * time.Millisecond  // between two looks at a process
)

// called waits until a process has a name.
func called(ctx context.Context, pid int, name string) error {
	for {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		if err != nil || strings.TrimSpace(string(text)) == name {
			return err
		}
		if err := pause(ctx, glance); err != nil {
			return err
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
