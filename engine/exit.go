package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"naru/engine/keeper"
	"naru/engine/sandbox"
)

// watchExit waits, beside everything else, for the container's process to exit, and settles the exit. The caller holds
// e.mu.
func (e *Engine) watchExit(en *entry) {
	id, done := en.c.ID, en.done
	e.watchers.Go(func() {
		exit, err := e.cfg.Keeper.Wait(e.life, id)
		if e.life.Err() != nil {
			return // the next daemon adopts it
		}
		if err != nil {
			e.log.Error("wait for a container", "container", id, "err", err)
			exit = keeper.Exit{Code: lostExitCode, At: time.Now()}
		}
		en.op.Lock()
		defer en.op.Unlock()
		// To the end, whatever becomes of the daemon's context: half an exit would have to be settled again.
		if err := e.settleExit(context.WithoutCancel(e.life), en, exit, func() { close(done) }); err != nil {
			e.log.Error("settle a container's exit", "container", id, "err", err)
		}
	})
}

// lostExitCode stands for an exit whose status nobody saw.
const lostExitCode = 255

// settleExit writes the exit down, tells who waits for it, and then cleans up what can take its time: the kernel takes
// a moment to let go of a network device. A crash in between leaves what Adopt repeats or Fsck finds. The caller holds
// en.op; tell is called once.
func (e *Engine) settleExit(ctx context.Context, en *entry, exit keeper.Exit, tell func()) error {
	tell = sync.OnceFunc(tell)
	defer tell()
	c := e.snapshot(en)
	if c.State != Running && c.State != Starting {
		return nil
	}
	oom, err := sandbox.OOMKilled(e.cgroup(c.ID))
	if err != nil {
		e.log.Warn("ask whether memory ran out", "container", c.Name, "err", err)
	}
	c.State, c.PID, c.OOMKilled, c.ExitCode, c.FinishedAt = Exited, 0, oom, exit.Code, exit.At.UTC()
	e.occupy(en, true)
	defer e.occupy(en, false)
	if err := e.writeExit(ctx, en, c); err != nil {
		return err
	}
	tell()
	if err := e.cleanKernel(ctx, c.ID); err != nil {
		return err
	}
	return e.applyChange(ctx)
}

// writeExit makes the exit last: the container's row, or, when it is to be removed on exit, that there is none any more.
func (e *Engine) writeExit(ctx context.Context, en *entry, c Container) error {
	if err := e.save(ctx, en, c); err != nil {
		return err
	}
	e.release(en)
	if err := e.cfg.Keeper.Forget(ctx, c.ID); err != nil {
		return fmt.Errorf("forget the exit of %s: %w", c.Name, err)
	}
	if c.Spec.AutoRemove {
		return e.remove(ctx, en)
	}
	return nil
}

// occupy says whether the container's address is still in use although it does not run: its device is being removed.
func (e *Engine) occupy(en *entry, yes bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if yes {
		e.leaving[en.c.ID] = en.c.Addr
		return
	}
	delete(e.leaving, en.c.ID)
}

// cleanKernel removes what the kernel holds for a container that does not run any more: processes that its process 1
// left behind, the cgroup, and the network devices.
func (e *Engine) cleanKernel(ctx context.Context, id string) error {
	return errors.Join(sandbox.RemoveCgroup(ctx, e.cgroup(id)), e.net.Detach(ctx, id))
}

// release closes what memory holds for a run that has ended.
func (e *Engine) release(en *entry) {
	e.mu.Lock()
	defer e.mu.Unlock()
	closeAll(en.pidfd, en.stdin)
	en.pidfd, en.stdin = nil, nil
	if en.tty != nil {
		en.tty.Close()
		en.tty = nil
	}
}

// Wait returns the container when it does not run any more. A container that has never run is returned as it is.
func (e *Engine) Wait(ctx context.Context, idOrName string) (Container, error) {
	en, err := e.find(idOrName)
	if err != nil {
		return Container{}, err
	}
	e.mu.Lock()
	done := en.done
	e.mu.Unlock()
	if done != nil {
		select {
		case <-done:
		case <-ctx.Done():
			return Container{}, ctx.Err()
		}
	}
	return e.snapshot(en), nil
}
