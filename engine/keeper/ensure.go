package keeper

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"

	"naru/engine/keeper/internal/wire"
	"naru/naru"
)

// Ensure connects to the keeper of a folder, and starts one, detached from this process, when none runs.
func Ensure(ctx context.Context, o Options) (*Client, error) {
	dir, err := absolute(o.Dir)
	if err != nil {
		return nil, err
	}
	c := &Client{dir: dir, program: program{o.Executable}}
	build, err := c.program.build()
	if err != nil {
		return nil, err
	}
	err = c.hello(ctx, build)
	if errors.Is(err, ErrGone) {
		err = c.launch(ctx, build)
	}
	if err != nil {
		return nil, err
	}
	return c, nil
}

// PID is the process of the keeper that a folder has; an ErrGone when it has none.
func PID(ctx context.Context, o Options) (int, error) {
	dir, err := absolute(o.Dir)
	if err != nil {
		return 0, err
	}
	c := &Client{dir: dir}
	err = c.hello(ctx, "")
	return c.info.PID, err
}

// hello asks the keeper who it is.
func (c *Client) hello(ctx context.Context, build string) error {
	r, _, err := c.call(ctx, wire.Request{Op: wire.Hello})
	if err != nil {
		return err
	}
	c.info = Info{PID: r.PID, Build: r.Build, Current: r.Build == build}
	return nil
}

// launch starts a keeper. If another process does the same at this moment, one of the two keepers comes to be and
// both find it.
func (c *Client) launch(ctx context.Context, build string) error {
	if err := os.MkdirAll(c.dir, 0o755); err != nil {
		return fmt.Errorf("make the keeper's folder: %w", err)
	}
	exe, err := c.program.seal()
	if err != nil {
		return err
	}
	defer exe.Close()
	if err := runStarter(ctx, exe, c.dir, build); err != nil {
		return naru.Errorf(naru.Unavailable, "start the keeper: %w", err)
	}
	if err := c.hello(ctx, build); err != nil {
		return naru.Errorf(naru.Unavailable, "the keeper started but does not answer, see %s/keeper.log: %w", c.dir, err)
	}
	return nil
}

// runStarter runs the executable as a starter, which is done when the keeper's socket is there. The keeper gets
// nothing of this process's environment: it would keep its secrets.
func runStarter(ctx context.Context, exe *os.File, dir, build string) error {
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, fmt.Sprintf("/proc/self/fd/%d", exe.Fd()))
	cmd.Args = []string{"naru-keeper", "start", dir, build}
	cmd.Env = []string{}
	cmd.Stderr = &stderr
	err := cmd.Run()
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("%w, while a keeper that has no socket (any more) holds %s/keeper.pid", ctx.Err(), dir)
	}
	if err != nil {
		return fmt.Errorf("%w: %s", err, bytes.TrimSpace(stderr.Bytes()))
	}
	return nil
}
