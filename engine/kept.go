package engine

import (
	"context"
	"errors"
	"fmt"
	"os"

	"naru/engine/keeper"
)

func keptTTY(id string) string   { return "tty " + id }
func keptStdin(id string) string { return "stdin " + id }

// keep gives the keeper what this process holds of a container's input and terminal: at the death of the daemon the
// container must see no end and no hang-up. Without the keeper's help it works all the same, as long as this daemon lives.
func (e *Engine) keep(ctx context.Context, c Container, tty, stdin *os.File) {
	for name, f := range map[string]*os.File{keptTTY(c.ID): tty, keptStdin(c.ID): stdin} {
		if f != nil {
			e.logFailure("let the keeper hold a container's terminal or input", e.cfg.Keeper.Keep(ctx, name, f))
		}
	}
}

// kept takes back what the daemon before this one gave to the keeper.
func (e *Engine) kept(ctx context.Context, c Container) (tty, stdin *os.File, err error) {
	if c.Spec.TTY {
		if tty, err = e.keptFile(ctx, keptTTY(c.ID)); err != nil {
			return nil, nil, err
		}
	}
	if c.Spec.OpenStdin && !c.Spec.TTY {
		if stdin, err = e.keptFile(ctx, keptStdin(c.ID)); err != nil {
			return nil, nil, err
		}
	}
	return tty, stdin, nil
}

// keptFile is nil when the keeper has none of that name: the input ended.
func (e *Engine) keptFile(ctx context.Context, name string) (*os.File, error) {
	f, err := e.cfg.Keeper.Kept(ctx, name)
	if errors.Is(err, keeper.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("take back %s: %w", name, err)
	}
	return f, nil
}

// dropKept lets the keeper close what it held for a run that has ended: the terminal's output ends with that.
func (e *Engine) dropKept(ctx context.Context, c Container) {
	if c.Spec.TTY {
		e.logFailure("release a container's terminal", e.cfg.Keeper.Release(ctx, keptTTY(c.ID)))
	}
	if c.Spec.OpenStdin && !c.Spec.TTY {
		e.logFailure("release a container's input", e.cfg.Keeper.Release(ctx, keptStdin(c.ID)))
	}
}
