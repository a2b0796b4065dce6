package engine_test

import (
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
