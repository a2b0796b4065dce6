package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"naru/engine/keeper"
)

// Adopt settles what the daemon before this one left: it watches the containers that still run, settles the exits that
// nobody saw, ends the starts that were cut off, and removes what belongs to no container. It is called once, after Open
// and before anything else. What goes wrong with one container is logged: it must not keep the daemon from the others.
func (e *Engine) Adopt(ctx context.Context) error {
	children, err := e.children(ctx)
	if err != nil {
		return err
	}
	containers, err := e.List(ctx)
	if err != nil {
		return err
	}
	for _, c := range containers {
		child, ok := children[c.ID]
		delete(children, c.ID)
		e.logFailure("adopt container "+c.Name, e.adoptOne(ctx, c, child, ok))
	}
	for id, child := range children {
		if e.runsDetached(id) {
			e.watchDetached(id)
			continue
		}
		e.logFailure("end "+id+", of an exec or of a container that is no more", e.endChild(ctx, child))
	}
	_, err = e.Fsck(ctx, true)
	e.logFailure("remove what belongs to no container", err)
	return ctx.Err()
}

// children are the keeper's processes by id.
func (e *Engine) children(ctx context.Context) (map[string]keeper.Child, error) {
	list, err := e.cfg.Keeper.Children(ctx)
	if err != nil {
		return nil, fmt.Errorf("ask the keeper for its processes: %w", err)
	}
	out := map[string]keeper.Child{}
	for _, ch := range list {
		out[ch.ID] = ch
	}
	return out, nil
}

// adoptOne brings one container's row and process together again.
func (e *Engine) adoptOne(ctx context.Context, c Container, child keeper.Child, known bool) error {
	en, err := e.find(c.ID)
	if err != nil {
		return err
	}
	en.op.Lock()
	defer en.op.Unlock()
	e.mu.Lock()
	if c.State != Created { // of what never ran, nobody waits for the end
		en.renew()
		e.forward(en)
	}
	e.mu.Unlock()
	defer e.tell(en)
	switch {
	case c.State == Running && known && !child.Exited:
		err := e.watchAgain(ctx, en)
		if errors.Is(err, keeper.ErrExited) { // since the keeper was asked for its processes
			return e.settleHeard(ctx, en)
		}
		return err
	case c.State == Running && known:
		return e.settleNow(ctx, en, child.Exit)
	case c.State == Running:
		return e.settleNow(ctx, en, lostExit())
	case c.State == Starting:
		return e.settleFailedStart(ctx, en, c, errCutOff, true)
	case known: // the daemon before had just written its end down
		if err := e.endChild(ctx, child); err != nil {
			return err
		}
	}
	return e.adoptEnded(ctx, en, c)
}

// adoptEnded does what should have come after a container's end.
func (e *Engine) adoptEnded(ctx context.Context, en *entry, c Container) error {
	switch {
	case c.Spec.AutoRemove && c.State == Exited:
		return e.removeWhenLeft(ctx, en)
	case c.wantsRevival():
		return e.revive(ctx, en, c)
	}
	return nil
}

// settleHeard settles the exit that the keeper has to tell of. The caller holds en.op.
func (e *Engine) settleHeard(ctx context.Context, en *entry) error {
	exit, err := e.cfg.Keeper.Wait(ctx, en.c.ID)
	if err != nil {
		return err
	}
	return e.settleNow(ctx, en, exit)
}

// settleNow settles an exit, and goes on trying beside everything else when that fails. The caller holds en.op.
func (e *Engine) settleNow(ctx context.Context, en *entry, exit keeper.Exit) error {
	err := e.settleExit(ctx, en, exit)
	if err != nil {
		e.waiting.Go(func() { e.settleInTheEnd(en, exit) })
	}
	return err
}

// revive lets the restarter start a container as soon as it runs.
func (e *Engine) revive(ctx context.Context, en *entry, c Container) error {
	c.State, c.RestartAt, c.Restarts, c.Backoff = Restarting, time.Now().UTC(), 0, 0
	return e.save(ctx, en, c)
}

func (e *Engine) watchAgain(ctx context.Context, en *entry) error {
	pidfd, err := e.cfg.Keeper.PidFD(ctx, en.c.ID)
	if err != nil {
		return err
	}
	tty, stdin, err := e.kept(ctx, en.c)
	if err != nil {
		return errors.Join(err, pidfd.Close())
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, at := range en.c.endpoints() {
		e.net.Adopt(en.c.ID, at.Interface, at.Addr)
	}
	en.pidfd, en.stdin, en.tty = pidfd, stdin, tty
	e.watchExit(en)
	e.watchHealth(en)
	return nil
}

// errCutOff ends a start that the daemon did not live to finish: nobody was told that it succeeded.
var errCutOff = errors.New("the daemon ended while the container was started")

// endChild kills one of the keeper's processes and lets the keeper forget it.
func (e *Engine) endChild(ctx context.Context, child keeper.Child) error {
	if !child.Exited {
		if err := e.killChild(ctx, child.ID); err != nil {
			return fmt.Errorf("end process %d of %s: %w", child.PID, child.ID, err)
		}
	}
	return e.cfg.Keeper.Forget(ctx, child.ID)
}

func (e *Engine) killChild(ctx context.Context, id string) error {
	pidfd, err := e.cfg.Keeper.PidFD(ctx, id)
	if errors.Is(err, keeper.ErrExited) {
		return nil
	}
	if err != nil {
		return err
	}
	defer closeAll(pidfd)
	if err := unix.PidfdSendSignal(int(pidfd.Fd()), unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("kill: %w", err)
	}
	_, err = e.cfg.Keeper.Wait(ctx, id)
	return err
}
