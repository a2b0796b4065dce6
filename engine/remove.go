package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"naru/naru"
)

// Remove deletes a container and its writable layer and log; force kills it first when it runs. Named volumes stay.
func (e *Engine) Remove(ctx context.Context, idOrName string, force bool) error {
	en, err := e.find(idOrName)
	if err != nil {
		return err
	}
	for {
		if c := e.snapshot(en); c.State == Running || c.State == Restarting {
			if !force {
				return naru.Errorf(naru.FailedPrecondition, "container %s is %s: stop it first, or remove it with --force", c.Name, c.State)
			}
			if err := e.killNow(ctx, en); err != nil {
				return err
			}
		}
		if done, err := e.removeEnded(ctx, en); done {
			return err
		}
	}
}

// removeEnded removes a container unless it runs, as one does whose start was under way when its removal was asked for.
func (e *Engine) removeEnded(ctx context.Context, en *entry) (done bool, err error) {
	en.op.Lock()
	defer en.op.Unlock()
	if c := e.snapshot(en); c.State == Running && !e.isGone(en) {
		return false, nil
	}
	return true, e.remove(ctx, en)
}

// killNow kills the container's process and returns when its end is written down.
func (e *Engine) killNow(ctx context.Context, en *entry) error {
	c, err := e.markStopped(ctx, en)
	if err != nil || c.State != Running {
		return err
	}
	if err := e.signal(en, unix.SIGKILL); err != nil {
		return err
	}
	if err := e.thaw(ctx, en); err != nil {
		return err
	}
	return e.awaitEnd(ctx, en)
}

// removeWhenLeft removes a container that was to be removed on exit, unless somebody still reads its output: then the
// last of them does. The caller holds en.op.
func (e *Engine) removeWhenLeft(ctx context.Context, en *entry) error {
	e.mu.Lock()
	if !en.c.Spec.AutoRemove || en.c.State != Exited || en.holds > 0 {
		e.mu.Unlock()
		return nil
	}
	en.closed = true
	e.mu.Unlock()
	return e.remove(ctx, en)
}

// hold keeps the container from being removed on exit until letGo.
func (e *Engine) hold(en *entry) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if en.gone || en.closed {
		return naru.Errorf(naru.NotFound, "container %s was removed", en.c.Name)
	}
	en.holds++
	return nil
}

func (e *Engine) letGo(ctx context.Context, en *entry) {
	e.mu.Lock()
	en.holds--
	last := en.holds == 0 && en.c.Spec.AutoRemove && en.c.State == Exited
	e.mu.Unlock()
	if !last {
		return
	}
	en.op.Lock()
	defer en.op.Unlock()
	e.removeLeft(context.WithoutCancel(ctx), en)
}

// removeLeft is removeWhenLeft, which it goes on trying beside everything else when it fails, for lack of room on the disk
// say. The caller holds en.op.
func (e *Engine) removeLeft(ctx context.Context, en *entry) {
	err := e.removeWhenLeft(ctx, en)
	if err == nil {
		return
	}
	e.log.Error("remove a container on its exit", "container", en.c.Name, "err", err)
	e.waiting.Go(func() {
		select {
		case <-e.life.Done(): // the next daemon does
		case <-time.After(settleRetry):
			en.op.Lock()
			defer en.op.Unlock()
			e.removeLeft(ctx, en)
		}
	})
}

// remove sets the files aside first and deletes the row last: until the row is gone, a crash leaves something that can be
// removed again. The caller holds en.op.
func (e *Engine) remove(ctx context.Context, en *entry) error {
	c := e.snapshot(en)
	if e.isGone(en) {
		return nil
	}
	if c.State == Running || c.State == Starting {
		return fmt.Errorf("remove container %s: it was started again", c.Name)
	}
	e.leaveForward(ctx, en)
	if err := e.setAside(ctx, c); err != nil {
		return err
	}
	if err := e.forget(ctx, en); err != nil {
		return err
	}
	e.clearAside(c)
	e.note("destroy", c)
	return nil
}

// setAside undoes makeFiles, as far as that came: root filesystem and folder are where nobody looks for them when it
// returns. That their files go takes a file system milliseconds, for which nobody waits.
func (e *Engine) setAside(ctx context.Context, c Container) error {
	if err := e.cfg.Images.Release(ctx, c.ID); err != nil {
		return fmt.Errorf("remove the root filesystem of %s: %w", c.Name, err)
	}
	err := os.Rename(e.containerDir(c.ID), e.containerDir(asidePrefix+c.ID))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the folder of %s: %w", c.Name, err)
	}
	return nil
}

// asidePrefix begins the names of containers' folders that belong to nobody any more.
const asidePrefix = ".removed-"

// clearAside removes, beside everything else, the folder that was set aside.
func (e *Engine) clearAside(c Container) {
	e.waiting.Go(func() {
		e.logFailure("remove the folder of "+c.Name, os.RemoveAll(e.containerDir(asidePrefix+c.ID)))
	})
}

// clearAllAside removes the folders that a daemon's death left.
func clearAllAside(dataDir string) error {
	left, err := filepath.Glob(filepath.Join(dataDir, "containers", asidePrefix+"*"))
	if err != nil {
		return err
	}
	for _, dir := range left {
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	return nil
}

func (e *Engine) isGone(en *entry) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return en.gone
}
