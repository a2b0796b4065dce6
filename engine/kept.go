package engine

import (
	"context"
	"errors"
	"os"

	"naru/engine/keeper"
)

func keptStdin(id string) string { return "stdin " + id }

// keep gives the keeper what this process holds of a container's input: at the death of the daemon the container must see
// no end. Without the keeper's help it works all the same, as long as this daemon lives.
func (e *Engine) keep(ctx context.Context, c Container, stdin *os.File) {
	if stdin != nil {
		e.logFailure("let the keeper hold a container's input", e.cfg.Keeper.Keep(ctx, keptStdin(c.ID), stdin))
	}
}

// keepTerminal lets the keeper read what a container prints on its terminal: that must not wait for a daemon.
func (e *Engine) keepTerminal(ctx context.Context, c Container, tty *os.File) error {
	if tty == nil {
		return nil
	}
	return e.cfg.Keeper.SetTerminal(ctx, c.ID, tty)
}

// kept takes back what the daemon before this one gave to the keeper; nil is an input that ended, and a terminal that hung
// up.
func (e *Engine) kept(ctx context.Context, c Container) (tty, stdin *os.File, err error) {
	switch {
	case c.Spec.TTY:
		tty, err = e.cfg.Keeper.Terminal(ctx, c.ID)
	case c.Spec.OpenStdin:
		stdin, err = e.cfg.Keeper.Kept(ctx, keptStdin(c.ID))
	}
	if errors.Is(err, keeper.ErrNotFound) {
		return nil, nil, nil
	}
	return tty, stdin, err
}

// dropKept lets the keeper close what it held for a run that has ended.
func (e *Engine) dropKept(ctx context.Context, c Container) {
	if c.Spec.OpenStdin && !c.Spec.TTY {
		e.logFailure("release a container's input", e.cfg.Keeper.Release(ctx, keptStdin(c.ID)))
	}
}
