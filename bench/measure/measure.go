// Package measure times contestants against each other in one run on one machine: it receives what to time, runs the
// contestants in turn so that whatever else the machine does meets all of them alike, and hands on medians and their
// ratio.
package measure

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Contestant is one way to do the thing that is timed. Do is called once a round and fails when the thing did not
// happen as it should.
type Contestant struct {
	Name string
	Do   func() error
	Own  func() (time.Duration, error) // in the place of Do, for one with a clock of its own
}

func (c Contestant) round() (time.Duration, error) {
	if c.Own != nil {
		return c.Own()
	}
	start := time.Now()
	err := c.Do()
	return time.Since(start), err
}

// Series is how long each round of one contestant took, sorted.
type Series struct {
	Name string
	Took []time.Duration
}

// Alternate runs the contestants in turn, A B A B, for that many rounds after warmup rounds that do not count.
func Alternate(warmup, rounds int, contestants ...Contestant) ([]Series, error) {
	all := make([]Series, len(contestants))
	for round := range warmup + rounds {
		for i, c := range contestants {
			took, err := c.round()
			if err != nil {
				return nil, fmt.Errorf("round %d of %s: %w", round, c.Name, err)
			}
			if round >= warmup {
				all[i].Took = append(all[i].Took, took)
			}
		}
	}
	for i, c := range contestants {
		all[i].Name = c.Name
		slices.Sort(all[i].Took)
	}
	return all, nil
}

// Together runs one contestant's rounds in that many goroutines at once, each that many.
func Together(goroutines, rounds int, c Contestant) (Series, error) {
	took, errs := make([][]time.Duration, goroutines), make([]error, goroutines)
	var all sync.WaitGroup
	for i := range goroutines {
		all.Go(func() {
			series, err := Alternate(1, rounds, c)
			if errs[i] = err; err == nil {
				took[i] = series[0].Took
			}
		})
	}
	all.Wait()
	s := Series{Name: c.Name, Took: slices.Concat(took...)}
	slices.Sort(s.Took)
	return s, errors.Join(errs...)
}

// Median is the middle of the rounds, or the mean of the two in the middle.
func (s Series) Median() time.Duration {
	n := len(s.Took)
	return (s.Took[(n-1)/2] + s.Took[n/2]) / 2
}

// Quantile is the round that a share q of the rounds were no slower than.
func (s Series) Quantile(q float64) time.Duration {
	return s.Took[int(q*float64(len(s.Took)-1))]
}

// Print writes a line for each series.
func Print(all ...Series) {
	for _, s := range all {
		fmt.Printf("%-12s median %s   p10 %s   p90 %s   (%d rounds)\n",
			s.Name, millis(s.Median()), millis(s.Quantile(0.1)), millis(s.Quantile(0.9)), len(s.Took))
	}
}

func millis(d time.Duration) string {
	return fmt.Sprintf("%7.2f ms", float64(d)/float64(time.Millisecond))
}

// Environment says what machine this is, for whoever reads a ratio later.
func Environment() string {
	var uname syscall.Utsname
	_ = syscall.Uname(&uname) // the kernel's name stays empty
	var release strings.Builder
	for _, c := range uname.Release {
		if c == 0 {
			break
		}
		release.WriteByte(byte(c))
	}
	return fmt.Sprintf("%d cores of %s, Linux %s, cgroup %s, %s", runtime.NumCPU(), cpuModel(), release.String(), cgroupVersion(), runtime.Version())
}

func cpuModel() string {
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	for line := range strings.Lines(string(info)) {
		if name, value, found := strings.Cut(line, ":"); found && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

func cgroupVersion() string {
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		return "v2"
	}
	return "v1"
}
