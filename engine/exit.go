package engine

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"naru/engine/keeper"
	"naru/engine/sandbox"
)

// watchExit waits, beside everything else, for the container's process to exit, and settles the exit. The caller holds
// e.mu.
func (e *Engine) watchExit(en *entry) {
	id := en.c.ID
	e.waiting.Go(func() {
		exit, err := e.cfg.Keeper.Wait(e.life, id)
		if e.life.Err() != nil {
			return // the next daemon adopts it
		}
		if err != nil {
			e.log.Error("wait for a container", "container", id, "err", err)
			exit = lostExit()
		}
		e.settleInTheEnd(en, exit)
	})
}

// settleRetry is how long an exit waits that could not be written down, for lack of room on the disk say.
const settleRetry = time.Second

// settleInTheEnd settles the exit, or leaves it to the next daemon, which hears of it from the keeper too.
func (e *Engine) settleInTheEnd(en *entry, exit keeper.Exit) {
	for !e.settleOnce(en, exit) {
		select {
		case <-e.life.Done():
			return
		case <-time.After(settleRetry):
		}
	}
}

// settleOnce reports whether the exit has been written down. If not, whoever waits for it is let go, with the reason.
func (e *Engine) settleOnce(en *entry, exit keeper.Exit) bool {
	en.op.Lock()
	defer en.op.Unlock()
	// To the end, whatever becomes of the daemon's context: half an exit would have to be settled again.
	err := e.settleExit(context.WithoutCancel(e.life), en, exit)
	if err != nil {
		e.log.Error("settle a container's exit", "container", en.c.Name, "err", err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	en.fault = nil
	if err != nil && en.c.State == Running {
		en.fault = fmt.Errorf("container %s has ended, which cannot be written down yet: %w", en.c.Name, err)
		en.end()
	}
	return en.fault == nil
}

// lostExitCode stands for an exit whose status nobody saw.
const lostExitCode = 255

// lostExit has a signal that is none, which tells it from an exit with that status.
func lostExit() keeper.Exit { return keeper.Exit{Code: lostExitCode, Signal: -1, At: time.Now()} }

// settleExit writes the exit down, tells who waits for it, and has the rest cleaned up beside everything else: the kernel
// takes a moment to let go of a network device. A crash in between leaves what Adopt repeats or Fsck finds. The caller
// holds en.op.
func (e *Engine) settleExit(ctx context.Context, en *entry, exit keeper.Exit) error {
	c := e.snapshot(en)
	if c.State != Running && c.State != Starting {
		return nil
	}
	e.leaveHealth(en)
	oom, err := sandbox.OOMKilled(e.cgroup(c.ID))
	if err != nil {
		e.log.Warn("ask whether memory ran out", "container", c.Name, "err", err)
	}
	c.exited(exit, oom)
	c.settle(time.Now())
	gone := e.depart(en)
	defer e.tell(en) // also of an exit that could not be written down: it has ended all the same
	if err := e.writeExit(ctx, en, c); err != nil {
		gone()
		return err
	}
	e.waiting.Go(func() {
		defer gone()
		e.logFailure("take a port back", e.leadNoLonger(ctx, c))
		e.tellName(c.ID)
		e.logFailure("clean up after a container", errors.Join(e.cfg.Keeper.Forget(ctx, c.ID), e.cleanKernel(ctx, c.ID)))
	})
	e.removeLeft(ctx, en)
	return nil
}

// exited notes how the container's process ended.
func (c *Container) exited(exit keeper.Exit, oom bool) {
	c.PID, c.Paused, c.OOMKilled = 0, false, oom
	c.ExitCode, c.Signal, c.FinishedAt = exit.Code, max(exit.Signal, 0), exit.At.UTC()
	c.Lost = exit.Signal < 0
}

// Reason says in a few words why the container ended; empty when it has not.
func (c Container) Reason() string {
	switch {
	case c.State != Exited && c.State != Restarting:
		return ""
	case c.Error != "":
		return "could not be started"
	case c.Lost:
		return "its end was not seen"
	case c.OOMKilled && c.ExitCode != 0:
		return "out of memory"
	case c.Stopped && c.Signal != 0:
		return "stopped by " + unix.SignalName(syscall.Signal(c.Signal))
	case c.Stopped:
		return "stopped"
	case c.Signal != 0:
		return "killed by " + unix.SignalName(syscall.Signal(c.Signal))
	}
	return "exited"
}

// tell lets everybody go who waits for the container's end, when that is what it has come to.
func (e *Engine) tell(en *entry) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if en.c.State == Exited || en.gone {
		en.end()
	}
	e.hint()
}

// writeExit makes the exit last, and lets go of what the run had of this process. A container that is removed on exit has
// a row that says it runs until it has none: a daemon that finds that and no process removes it, too.
func (e *Engine) writeExit(ctx context.Context, en *entry, c Container) error {
	if c.Spec.AutoRemove {
		e.show(en, c)
	} else if err := e.save(ctx, en, c); err != nil {
		return err
	}
	e.noteExit(c)
	e.release(ctx, en)
	return nil
}

// departure is what a container that has ended still occupies: its devices are being removed.
type departure struct {
	addrs []netip.Addr
	gone  chan struct{} // closed at the end of it
}

// depart notes the departure of a container and returns the function that ends it.
func (e *Engine) depart(en *entry) (gone func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	d := departure{gone: make(chan struct{})}
	for _, at := range en.c.endpoints() {
		d.addrs = append(d.addrs, at.Addr)
	}
	id := en.c.ID
	e.leaving[id] = d
	return func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		delete(e.leaving, id)
		close(d.gone)
	}
}

// departed waits until nothing of the container's last run is left in the kernel.
func (e *Engine) departed(ctx context.Context, id string) error {
	e.mu.Lock()
	d, leaving := e.leaving[id]
	e.mu.Unlock()
	if !leaving {
		return nil
	}
	select {
	case <-d.gone:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// cleanKernel removes what the kernel holds for a container that does not run any more: processes that its process 1
// left behind, the cgroup, and the network devices.
func (e *Engine) cleanKernel(ctx context.Context, id string) error {
	return errors.Join(sandbox.RemoveCgroup(ctx, e.cgroup(id)), e.net.Detach(ctx, id))
}

// release closes what memory holds for a run that has ended.
func (e *Engine) release(ctx context.Context, en *entry) {
	e.dropKept(ctx, en.c)
	e.mu.Lock()
	defer e.mu.Unlock()
	closeAll(en.pidfd, en.stdin, en.tty)
	en.pidfd, en.stdin, en.tty = nil, nil, nil
}

// Wait returns the container when it does not run any more and its policy starts it no more. A container that has never
// run is returned as it is.
func (e *Engine) Wait(ctx context.Context, idOrName string) (Container, error) {
	en, err := e.find(idOrName)
	if err != nil {
		return Container{}, err
	}
	return e.waitEntry(ctx, en)
}

func (e *Engine) waitEntry(ctx context.Context, en *entry) (Container, error) {
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
	e.mu.Lock()
	defer e.mu.Unlock()
	return en.c, en.fault
}
