package builder

import (
	"context"
	"fmt"

	"github.com/moby/buildkit/client"
)

// Prune forgets the least recently used results of builds until what is left of them fits into keep bytes, and returns
// how many bytes it forgot. What images need stays. The space comes back in the image store's next Collect.
func (b *Builder) Prune(ctx context.Context, keep int64) (freed int64, err error) {
	forgotten := make(chan client.UsageInfo)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for u := range forgotten {
			freed += u.Size
		}
	}()
	err = b.worker.Prune(ctx, forgotten, client.PruneInfo{All: true, MaxUsedSpace: keep})
	close(forgotten)
	<-done
	if err != nil {
		return freed, fmt.Errorf("prune build cache: %w", err)
	}
	return freed, nil
}
