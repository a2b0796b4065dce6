package engine

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"naru/engine/sandbox"
	"naru/naru"
)

// Stop asks the container's process to end, with its stop signal, and kills it when it still runs after its grace (or
// after grace, when that is not zero; at once when it is negative). It returns when the exit is written down; stopping
// what does not run is no error.
func (e *Engine) Stop(ctx context.Context, idOrName string, grace time.Duration) error {
	en, err := e.find(idOrName)
	if err != nil {
		return err
	}
	c, err := e.markStopped(ctx, en)
	if err != nil || c.State != Running {
		return err
	}
	sig, err := e.stopSignal(ctx, c)
	if err != nil {
		return err
	}
	if err := e.signal(en, sig); err != nil {
		return err
	}
	if err := e.thaw(ctx, en); err != nil { // what is frozen hears no signal
		return err
	}
	if !e.waitDone(ctx, en, graceOf(c, grace)) {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("stop container %s: %w", c.Name, err)
		}
		if err := e.signal(en, unix.SIGKILL); err != nil {
			return err
		}
	}
	if err := e.awaitEnd(ctx, en); err != nil {
		return err
	}
	e.note("stop", e.snapshot(en))
	return nil
}

// markStopped notes that the end to come is wanted: no policy starts the container again. One that waits for a restart
// has ended with that. A mark that a daemon's death must not lose is written down.
func (e *Engine) markStopped(ctx context.Context, en *entry) (Container, error) {
	en.op.Lock()
	defer en.op.Unlock()
	c := e.snapshot(en)
	switch {
	case c.State == Restarting:
		c.State, c.RestartAt, c.Stopped = Exited, time.Time{}, true
		defer e.tell(en)
	case c.State != Running || c.Stopped:
		return c, nil
	}
	c.Stopped = true
	if c.Spec.Restart.Name != NoRestart {
		return c, e.save(ctx, en, c)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	en.c.Stopped = true
	return c, nil
}

// awaitEnd returns when the container has ended and that is written down.
func (e *Engine) awaitEnd(ctx context.Context, en *entry) error {
	_, err := e.waitEntry(ctx, en)
	return err
}

func graceOf(c Container, asked time.Duration) time.Duration {
	switch {
	case asked < 0:
		return 0
	case asked != 0:
		return asked
	case c.Spec.StopGrace != 0:
		return c.Spec.StopGrace
	}
	return naru.DefaultStopGrace
}

// waitDone reports whether the container's run ended within d.
func (e *Engine) waitDone(ctx context.Context, en *entry, d time.Duration) bool {
	e.mu.Lock()
	done := en.done
	e.mu.Unlock()
	if done == nil {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}

// Kill sends a signal to the container's process 1: a name with or without SIG, or a number. With SIGKILL it returns when
// the exit is written down.
func (e *Engine) Kill(ctx context.Context, idOrName, signal string) error {
	en, err := e.find(idOrName)
	if err != nil {
		return err
	}
	sig, err := sandbox.ParseSignal(signal)
	if err != nil {
		return err
	}
	c := e.snapshot(en)
	if c.State != Running {
		return naru.Errorf(naru.FailedPrecondition, "container %s is %s, not running: there is nothing to signal", c.Name, c.State)
	}
	if sig == unix.SIGKILL {
		if _, err := e.markStopped(ctx, en); err != nil {
			return err
		}
	}
	if err := e.signal(en, sig); err != nil {
		return err
	}
	e.note("kill", c)
	if sig != unix.SIGKILL {
		return nil
	}
	if err := e.thaw(ctx, en); err != nil {
		return err
	}
	return e.awaitEnd(ctx, en)
}

// signal goes through the pidfd, which cannot mean another process that got the same pid later.
func (e *Engine) signal(en *entry, sig syscall.Signal) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if en.pidfd == nil {
		return nil // it has just exited
	}
	err := unix.PidfdSendSignal(int(en.pidfd.Fd()), sig, nil, 0)
	if err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("send %v to container %s: %w", sig, en.c.Name, err)
	}
	return nil
}

// stopSignal is what asks the container to end. An image may say anything: what is no signal counts for as much as saying
// nothing, for a container of it must be able to end.
func (e *Engine) stopSignal(ctx context.Context, c Container) (syscall.Signal, error) {
	if c.Spec.StopSignal != "" {
		return sandbox.ParseSignal(c.Spec.StopSignal)
	}
	img, err := e.cfg.Images.Find(ctx, string(c.Image))
	if err != nil {
		return 0, fmt.Errorf("look for the stop signal of %s: %w", c.Name, err)
	}
	if img.Config.StopSignal == "" {
		return unix.SIGTERM, nil
	}
	sig, err := sandbox.ParseSignal(img.Config.StopSignal)
	if err != nil {
		e.log.Warn("stop a container with SIGTERM, as its image names no signal", "container", c.Name, "err", err)
		return unix.SIGTERM, nil
	}
	return sig, nil
}
