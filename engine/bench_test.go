package engine_test

import (
	"testing"
	"time"

	"naru/engine"
	"naru/internal/enginetest"
)

// BenchmarkRun is one container from its making to its removal, and tells how long each part takes.
func BenchmarkRun(b *testing.B) {
	r := enginetest.New(b)
	spec := engine.ContainerSpec{Image: "busybox", Command: []string{"true"}}
	var parts [4]time.Duration
	for b.Loop() {
		at := time.Now()
		lap := func(n int) {
			parts[n] += time.Since(at)
			at = time.Now()
		}
		c, err := r.Create(b.Context(), spec)
		if err != nil {
			b.Fatal(err)
		}
		lap(0)
		if err := r.Start(b.Context(), c.ID); err != nil {
			b.Fatal(err)
		}
		lap(1)
		if _, err := r.Wait(b.Context(), c.ID); err != nil {
			b.Fatal(err)
		}
		lap(2)
		if err := r.Remove(b.Context(), c.ID, false); err != nil {
			b.Fatal(err)
		}
		lap(3)
	}
	for n, name := range []string{"create", "start", "wait", "remove"} {
		b.ReportMetric(float64(parts[n].Microseconds())/float64(b.N)/1000, name+"-ms")
	}
}
