package builder

import (
	"context"
	"fmt"
	"io"

	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/util/progress/progressui"
	"golang.org/x/sync/errgroup"
)

// Render shows progress on w until the channel closes: a live table when w is a terminal's file and live is set, lines
// otherwise.
func Render(ctx context.Context, w io.Writer, live bool, news <-chan Progress) error {
	mode := progressui.PlainMode
	if live {
		mode = progressui.AutoMode
	}
	display, err := progressui.NewDisplay(w, mode)
	if err != nil {
		return fmt.Errorf("show progress: %w", err)
	}
	statuses := make(chan *client.SolveStatus)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(statuses)
		return feed(ctx, statuses, news)
	})
	g.Go(func() error {
		_, err := display.UpdateFrom(ctx, statuses)
		return err
	})
	return g.Wait()
}

func feed(ctx context.Context, to chan<- *client.SolveStatus, from <-chan Progress) error {
	for {
		select {
		case p, ok := <-from:
			if !ok {
				return nil
			}
			select {
			case to <- p.status():
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
