package engine

import (
	"context"
	"fmt"

	"golang.org/x/sys/unix"

	"naru/naru"
)

// Remove deletes a container and its writable layer and log; force kills it first when it runs. Named volumes stay.
func (e *Engine) Remove(ctx context.Context, idOrName string, force bool) error {
	en, err := e.find(idOrName)
	if err != nil {
		return err
	}
	if c := e.snapshot(en); c.State == Running {
		if !force {
			return naru.Errorf(naru.FailedPrecondition, "container %s runs: stop it first, or remove it with --force", c.Name)
		}
		if err := e.signal(en, unix.SIGKILL); err != nil {
			return err
		}
		if _, err := e.Wait(ctx, c.ID); err != nil && naru.CodeOf(err) != naru.NotFound {
			return err
		}
	}
	en.op.Lock()
	defer en.op.Unlock()
	return e.remove(ctx, en)
}

// remove deletes the files first and the row last: until the row is gone, a crash leaves something that can be
// removed again. The caller holds en.op.
func (e *Engine) remove(ctx context.Context, en *entry) error {
	c := e.snapshot(en)
	if e.isGone(en) {
		return nil
	}
	if c.State == Running || c.State == Starting {
		return fmt.Errorf("remove container %s: it was started again", c.Name)
	}
	if err := e.removeFiles(ctx, c); err != nil {
		return err
	}
	return e.forget(ctx, en)
}

func (e *Engine) isGone(en *entry) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return en.gone
}
