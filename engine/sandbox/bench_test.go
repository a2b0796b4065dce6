package sandbox_test

import (
	"slices"
	"testing"
	"time"

	"naru/engine/sandbox"
)

// BenchmarkStart starts `busybox true` with everything on: six namespaces and users, cgroups, overlay, seccomp. It
// reports medians: until Start returns (its program runs), and until its end was seen.
func BenchmarkStart(b *testing.B) {
	for name, d := range map[string]sandbox.Defaults{
		"userns": {Args: []string{"true"}, UIDMap: ids(), GIDMap: ids()},
		"host":   {Args: []string{"true"}},
	} {
		b.Run(name, func(b *testing.B) {
			l := newLab(b)
			var started, ended []time.Duration
			for b.Loop() {
				b.StopTimer()
				cfg := l.configFor(d)
				b.StartTimer()
				t := time.Now()
				box, err := sandbox.Start(l.ctx, cfg, l.local)
				l.must(err)
				started = append(started, time.Since(t))
				_, err = l.local.Wait(l.ctx, box)
				l.must(err)
				ended = append(ended, time.Since(t))
				b.StopTimer()
				box.Close()
				l.must(sandbox.RemoveCgroup(l.ctx, cfg.CgroupPath))
				b.StartTimer()
			}
			sandbox.RemoveCgroup(l.ctx, group())
			b.ReportMetric(float64(median(started).Microseconds()), "µs-to-exec")
			b.ReportMetric(float64(median(ended).Microseconds()), "µs-to-exit")
		})
	}
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}
