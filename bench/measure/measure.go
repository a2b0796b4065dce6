// Package measure times contestants against each other in one run on one machine: it receives what to time, runs the
// contestants in turn so that whatever else the machine does meets all of them alike, and hands on medians and their
// ratio.
package measure

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Contestant is one way to do the thing that is timed. Do is called once a round and fails when the thing did not
// happen as it should.
type Contestant struct {
	Name string
	Do   func() error
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
			start := time.Now()
			err := c.Do()
			took := time.Since(start)
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

// Median is the middle of the rounds, or the mean of the two in the middle.
func (s Series) Median() time.Duration {
	n := len(s.Took)
	return (s.Took[(n-1)/2] + s.Took[n/2]) / 2
}

// quantile is the round that a share q of the rounds were no slower than.
func (s Series) quantile(q float64) time.Duration {
	return s.Took[int(q*float64(len(s.Took)-1))]
}

// Print writes a line for each series, and one with the ratio of the first's median to each other's.
func Print(all []Series) {
	for _, s := range all {
		fmt.Printf("%-10s median %s   p10 %s   p90 %s   (%d rounds)\n",
			s.Name, millis(s.Median()), millis(s.quantile(0.1)), millis(s.quantile(0.9)), len(s.Took))
	}
	for _, peer := range all[1:] {
		ratio := float64(all[0].Median()) / float64(peer.Median())
		fmt.Printf("ratio %s / %s: %.4f = 1/%.1f\n", all[0].Name, peer.Name, ratio, 1/ratio)
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
