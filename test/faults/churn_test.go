package faults

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"naru/internal/testkit"
)

// warmUp is how many cycles fill what fills once: the database's log up to its size, the heaps, the threads.
const warmUp = 200

// TestChurnLeavesNothing lets containers come and go, and compares what the daemon and its keeper hold of the machine
// afterwards with what they held when they were warm.
func TestChurnLeavesNothing(t *testing.T) {
	d := start(t)
	before := d.Kernel()
	fresh := weigh(t, d)
	churn(t, d, warmUp)
	d.Settles(before)
	early := weigh(t, d)
	early.files = fresh.files
	began := time.Now()
	churn(t, d, *cycles)
	took := time.Since(began)
	d.Settles(before)
	t.Logf("%d cycles, %.1f a second", *cycles, float64(*cycles)/took.Seconds())

	var late weight
	defer func() {
		t.Logf("early %+v, late %+v", early, late)
		if t.Failed() {
			t.Logf("the daemon's goroutines:\n%s", readFile(t, d.Run, "goroutines"))
		}
	}()
	testkit.Eventually(t, 20*time.Second, "the daemon holds no more than before", func() error {
		late = weigh(t, d)
		return late.atMost(early)
	})
}

// churn creates, starts, stops and removes n containers, two at a time.
func churn(t *testing.T, d *testkit.Daemon, n int) {
	t.Helper()
	api, ctx := d.API(), t.Context()
	var begun atomic.Int64
	var workers sync.WaitGroup
	for range 2 {
		workers.Go(func() {
			for begun.Add(1) <= int64(n) && !t.Failed() {
				if err := cycle(ctx, api); err != nil {
					t.Error(err)
				}
			}
		})
	}
	workers.Wait()
	if t.Failed() {
		t.FailNow()
	}
}

func cycle(ctx context.Context, api testkit.API) error {
	c, err := api.RunContainer(ctx, testkit.ContainerSpec{Image: busybox, Command: []string{"sh", "-c", "echo begun; exec sleep 1000000"}, StopGrace: time.Millisecond})
	if err != nil {
		return err
	}
	if err := api.StopContainer(ctx, c.ID); err != nil {
		return err
	}
	return api.RemoveContainer(ctx, c.ID, false)
}
