package engine_test

import (
	"context"
	"sync"
	"testing"

	"naru/engine"
)

// TestFsckHarmsNothingThatIsMade looks and repairs while containers come and go: what is just being made belongs to
// somebody, and what is just being removed needs no repair.
func TestFsckHarmsNothingThatIsMade(t *testing.T) {
	r := newRig(t)
	coming, end := context.WithCancel(t.Context())
	defer end()
	var looking sync.WaitGroup
	looking.Go(func() {
		for coming.Err() == nil {
			if found, err := r.Fsck(t.Context(), true); err != nil || len(found) > 0 {
				t.Errorf("found %v, %v", found, err)
				return
			}
		}
	})
	var running sync.WaitGroup
	for range 3 {
		running.Go(func() {
			for range 15 {
				c, err := r.Create(t.Context(), engine.ContainerSpec{Image: "busybox", Command: []string{"true"}, AutoRemove: true, OpenStdin: true})
				if err != nil {
					t.Error(err)
					return
				}
				if end, err := r.RunAttached(t.Context(), c.ID, engine.Streams{}); err != nil || end.ExitCode != 0 {
					t.Errorf("%v, status %d", err, end.ExitCode)
				}
			}
		})
	}
	running.Wait()
	end()
	looking.Wait()
}
