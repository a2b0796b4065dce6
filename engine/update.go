package engine

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"naru/engine/sandbox"
	"naru/naru"
)

// Rename gives a container another name, under which its network knows it at once.
func (e *Engine) Rename(ctx context.Context, idOrName, name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	en, err := e.find(idOrName)
	if err != nil {
		return err
	}
	en.op.Lock()
	defer en.op.Unlock()
	e.mu.Lock()
	err = e.nameFree(name)
	c, old := en.c, en.c.Name
	if err == nil {
		c.Name = name
		e.follow(en, c) // taken from here on, before it is written down
	}
	e.mu.Unlock()
	if err != nil {
		return err
	}
	c.Spec.Name = name
	if err := e.save(ctx, en, c); err != nil {
		e.mu.Lock()
		defer e.mu.Unlock()
		c = en.c
		c.Name = old
		e.follow(en, c)
		return err
	}
	e.tellName(c.ID)
	e.note("rename", c, "old_name", old)
	return nil
}

// Restart stops a container that runs, as Stop does, and starts it.
func (e *Engine) Restart(ctx context.Context, idOrName string, grace time.Duration) error {
	en, err := e.find(idOrName)
	if err != nil {
		return err
	}
	if err := e.hold(en); err != nil { // this exit is not the one to be removed on
		return err
	}
	defer e.letGo(ctx, en)
	c := e.snapshot(en)
	if err := e.Stop(ctx, c.ID, grace); err != nil {
		return err
	}
	if err := e.Start(ctx, c.ID); err != nil {
		return err
	}
	e.note("restart", c)
	return nil
}

// Change is what Update changes; what is zero stays as it is.
type Change struct {
	Limits  naru.Limits // but of the disk
	Restart *RestartPolicy
}

// Update changes a container's limits, at once when it runs, and its restart policy.
func (e *Engine) Update(ctx context.Context, idOrName string, ch Change) error {
	en, err := e.find(idOrName)
	if err != nil {
		return err
	}
	en.op.Lock()
	defer en.op.Unlock()
	c := e.snapshot(en)
	before := c.Spec.Limits
	if err := ch.apply(&c); err != nil {
		return err
	}
	if c.State == Running && c.Spec.Limits != before {
		if err := sandbox.Update(e.cgroup(c.ID), resources(c.Spec.Limits, nil)); err != nil {
			return fmt.Errorf("update container %s: %w", c.Name, err)
		}
	}
	if err := e.save(ctx, en, c); err != nil {
		return err
	}
	e.note("update", c)
	return nil
}

func (ch Change) apply(c *Container) error {
	if err := ch.applyLimits(&c.Spec.Limits); err != nil {
		return err
	}
	if ch.Restart == nil {
		return nil
	}
	if err := ch.Restart.validate(); err != nil {
		return err
	}
	if c.Spec.AutoRemove && ch.Restart.Name != NoRestart {
		return naru.Errorf(naru.InvalidArgument, "container %s is removed when it exits: it cannot be restarted", c.Name)
	}
	c.Spec.Restart = *ch.Restart
	return nil
}

func (ch Change) applyLimits(to *naru.Limits) error {
	from := ch.Limits
	for _, f := range []struct {
		name string
		from int64
		to   *int64
	}{{"memory", from.MemoryBytes, &to.MemoryBytes}, {"reserved memory", from.MemoryReservation, &to.MemoryReservation},
		{"cpus", from.NanoCPUs, &to.NanoCPUs}, {"cpu shares", from.CPUShares, &to.CPUShares}, {"pids", from.PIDs, &to.PIDs}} {
		if f.from < 0 {
			return naru.Errorf(naru.InvalidArgument, "limit of %s: a running container's limit can change but not go away", f.name)
		}
		*f.to = cmp.Or(f.from, *f.to)
	}
	to.MemorySwap = cmp.Or(from.MemorySwap, to.MemorySwap)
	to.CPUs, to.MemoryNodes = cmp.Or(from.CPUs, to.CPUs), cmp.Or(from.MemoryNodes, to.MemoryNodes)
	if from.Disk != (naru.DiskLimit{}) {
		return naru.Errorf(naru.InvalidArgument, "limit of the disk: it is said when the container is made")
	}
	return checkSwap(*to)
}
