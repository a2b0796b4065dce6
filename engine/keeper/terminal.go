package keeper

import (
	"context"
	"fmt"
	"os"
	"runtime"

	"naru/engine/keeper/internal/wire"
)

// SetTerminal gives the keeper the master of a child's terminal. The keeper reads it into the child's logs, as it does with
// pipes, until the child has exited and all that it printed is there; nobody else may read from it. Holding the master, it
// also keeps the terminal from hanging up. The caller's own stays open.
func (c *Client) SetTerminal(ctx context.Context, id string, master *os.File) error {
	_, _, err := c.call(ctx, wire.Request{Op: wire.SetTerminal, ID: id}, int(master.Fd()))
	runtime.KeepAlive(master) // it stays open until it is sent
	if err != nil {
		return fmt.Errorf("give the keeper the terminal of %s: %w", id, err)
	}
	return nil
}

// Terminal returns a duplicate of the master of a child's terminal, to write to and to resize. A child without one, or whose
// terminal has hung up, is ErrNotFound.
func (c *Client) Terminal(ctx context.Context, id string) (*os.File, error) {
	_, got, err := c.call(ctx, wire.Request{Op: wire.Terminal, ID: id})
	if err != nil {
		return nil, fmt.Errorf("get the terminal of %s: %w", id, err)
	}
	return one(got)
}
