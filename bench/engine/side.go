package main

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"naru/bench/measure"
	"naru/bench/peer"
)

// engine is what both of them can.
type engine interface {
	Start(ctx context.Context, spec peer.Spec) (id string, err error)
	Remove(ctx context.Context, id string) error
	Exec(id string, command ...string) error
	List() (int, error)
	Processes(ctx context.Context) ([]int, error)
	PID() int
}

// side is an engine with the containers that run on it.
type side struct {
	engine
	name string
	most int // containers it shall have in the end
	has  int
	rate float64 // of the last fill, containers a second
}

// title tells it from itself with more or fewer containers.
func (s *side) title() string { return fmt.Sprintf("%s, %d", s.name, s.has) }

// print prints a value, beside what it should be at most when it is naru's.
func (s *side) print(value, aim float64) {
	if s.name == "naru" {
		measure.AtMost(s.title(), value, aim)
		return
	}
	fmt.Printf("%s: %.3g\n", s.title(), value)
}

// sleeper is a container that only is there.
func sleeper() peer.Spec {
	return peer.Spec{Image: "busybox", Command: []string{"/busybox", "sleep", "1000000"}}
}

// fill starts containers until there are n, or the most that the side shall have.
func (s *side) fill(ctx context.Context, n, parallel int) error {
	var group errgroup.Group
	group.SetLimit(parallel)
	begin, had := time.Now(), s.has
	for ; s.has < min(n, s.most) && ctx.Err() == nil; s.has++ {
		group.Go(func() error {
			_, err := s.Start(ctx, sleeper())
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("start one of %d containers on %s: %w", s.has, s.name, err)
	}
	s.rate = float64(s.has-had) / time.Since(begin).Seconds()
	return ctx.Err()
}

// start is a contestant that starts one container more, and removes it while no clock runs.
func (s *side) start(ctx context.Context) measure.Contestant {
	return measure.Contestant{Name: s.title(), Own: func() (time.Duration, error) {
		begin := time.Now()
		id, err := s.Start(ctx, sleeper())
		took := time.Since(begin)
		if err != nil {
			return 0, err
		}
		return took, s.Remove(ctx, id)
	}}
}

// processes are the containers' first processes, all of which must be there, and those of the engine itself.
func (s *side) processes(ctx context.Context) (containers, own []int, err error) {
	containers, err = s.Processes(ctx)
	if err != nil {
		return nil, nil, err
	}
	if len(containers) != s.has {
		return nil, nil, fmt.Errorf("%s: %d containers run, of %d that were started", s.name, len(containers), s.has)
	}
	own, err = measure.Overhead(s.PID(), containers)
	return containers, own, err
}

// use is how much of a core the engine itself uses in a while in which nobody wants anything of it.
func (s *side) use(ctx context.Context, while time.Duration) (float64, error) {
	_, own, err := s.processes(ctx)
	if err != nil {
		return 0, err
	}
	before, err := measure.CPU(own)
	if err != nil {
		return 0, err
	}
	begin := time.Now()
	select {
	case <-time.After(while):
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	after, err := measure.CPU(own)
	return float64(after-before) / float64(time.Since(begin)), err
}

// each does something for every side at once.
func each(sides []*side, do func(s *side) error) error {
	var group errgroup.Group
	for _, s := range sides {
		group.Go(func() error { return do(s) })
	}
	return group.Wait()
}
