package engine_test

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"testing"

	"naru/engine"
	"naru/naru"
)

func TestARemovalByForceMeetsAStartUnderWay(t *testing.T) {
	r := newRig(t)
	for range 5 {
		c, err := r.Create(t.Context(), engine.ContainerSpec{Image: "busybox", Command: []string{"sleep", "1000000"}})
		if err != nil {
			t.Fatal(err)
		}
		var starting sync.WaitGroup
		starting.Go(func() {
			if err := r.Start(t.Context(), c.ID); err != nil && naru.CodeOf(err) != naru.NotFound {
				t.Errorf("start: %v", err)
			}
		})
		if err := r.Remove(t.Context(), c.ID, true); err != nil {
			t.Errorf("remove by force: %v", err)
		}
		starting.Wait()
	}
}

// A request that the daemon's end overtakes must not bring back what that took out of the kernel.
func TestNoChangeReachesTheKernelAfterTheEnd(t *testing.T) {
	r := newRig(t)
	r.wait(r.start("true").ID)
	r.Shut()
	if err := r.Publish(t.Context(), "late", nil); !errors.Is(err, context.Canceled) {
		t.Errorf("a change after the end: %v", err)
	}
	if links, err := filepath.Glob("/sys/class/net/nr" + engine.Tag(r.Data) + "*"); err != nil || len(links) > 0 {
		t.Errorf("links left: %v, %v", links, err)
	}
	r.Open()
}
