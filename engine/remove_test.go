package engine_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"naru/engine"
	"naru/internal/testkit"
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

// No row says that a container that is removed on exit has ended: what becomes of it must not depend on this daemon, nor
// on whether the removal succeeds at once.
func TestARemovalOnExitThatFailsIsMadeUpFor(t *testing.T) {
	for name, then := range map[string]func(*rig){
		"by this daemon": func(*rig) {},
		"by the next":    func(r *rig) { r.Shut(); r.Open() },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			c := r.start(forever, func(s *engine.ContainerSpec) { s.AutoRemove = true })
			obstacle := filepath.Join(r.Data, "containers", ".removed-"+c.ID)
			if err := os.MkdirAll(filepath.Join(obstacle, "full"), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := r.Stop(t.Context(), c.ID, -1); err != nil {
				t.Fatal(err)
			}
			if ended := r.get(c.ID); ended.State != engine.Exited {
				t.Fatalf("it is %s", ended.State)
			}
			if err := os.RemoveAll(obstacle); err != nil {
				t.Fatal(err)
			}
			then(r)
			testkit.Eventually(t, patience, "the container is removed", func() error {
				if list, err := r.List(t.Context()); err != nil || len(list) > 0 {
					return fmt.Errorf("%v, %v", list, err)
				}
				return nil
			})
		})
	}
}
