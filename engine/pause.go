package engine

import (
	"context"

	"naru/engine/sandbox"
	"naru/naru"
)

// Pause stops every process of the container between two instructions.
func (e *Engine) Pause(ctx context.Context, idOrName string) error {
	return e.freeze(ctx, idOrName, true)
}

// Unpause lets the container's processes go on.
func (e *Engine) Unpause(ctx context.Context, idOrName string) error {
	return e.freeze(ctx, idOrName, false)
}

func (e *Engine) freeze(ctx context.Context, idOrName string, frozen bool) error {
	en, _, err := e.runningEntry(idOrName)
	if err != nil {
		return err
	}
	en.op.Lock()
	defer en.op.Unlock()
	c := e.snapshot(en)
	switch {
	case c.State != Running:
		return naru.Errorf(naru.FailedPrecondition, "container %s is %s, not running", c.Name, c.State)
	case c.Paused == frozen && frozen:
		return naru.Errorf(naru.FailedPrecondition, "container %s is paused already", c.Name)
	case c.Paused == frozen:
		return naru.Errorf(naru.FailedPrecondition, "container %s is not paused", c.Name)
	}
	return e.setFrozen(ctx, en, c, frozen)
}

// setFrozen is for who holds en.op.
func (e *Engine) setFrozen(ctx context.Context, en *entry, c Container, frozen bool) error {
	e.leaveHealth(en) // what is frozen cannot answer, nor can a question to it be ended
	defer e.resumeHealth(en)
	if err := sandbox.Freeze(e.cgroup(c.ID), frozen); err != nil {
		return err
	}
	c.Paused = frozen
	if err := e.save(ctx, en, c); err != nil {
		return err
	}
	e.note(map[bool]string{true: "pause", false: "unpause"}[frozen], c)
	return nil
}

// thaw unpauses a container that is to end.
func (e *Engine) thaw(ctx context.Context, en *entry) error {
	if !e.snapshot(en).Paused {
		return nil
	}
	en.op.Lock()
	defer en.op.Unlock()
	c := e.snapshot(en)
	if c.State != Running || !c.Paused {
		return nil
	}
	return e.setFrozen(ctx, en, c, false)
}
