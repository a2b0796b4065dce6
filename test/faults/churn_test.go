package faults

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"naru/internal/testkit"
)

// TestChurnLeavesNothing lets containers come and go, and compares what the daemon and its keeper hold of the machine
// afterwards with what they held when a fifth of them had gone.
func TestChurnLeavesNothing(t *testing.T) {
	d := start(t)
	before := d.Kernel()
	fresh := weigh(t, d)
	churn(t, d, *cycles/5)
	d.Settles(before)
	early := weigh(t, d)
	early.files = fresh.files
	began := time.Now()
	churn(t, d, *cycles-*cycles/5)
	d.Settles(before)
	t.Logf("%d cycles, %.1f a second", *cycles, float64(*cycles-*cycles/5)/time.Since(began).Seconds())

	testkit.Eventually(t, 20*time.Second, "the daemon holds no more than before", func() error {
		late := weigh(t, d)
		return late.atMost(early)
	})
	t.Logf("early %+v, late %+v", early, weigh(t, d))
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

// weight is what the daemon and its keeper hold of the machine.
type weight struct {
	daemonRSS, keeperRSS int // kB
	daemonFDs, keeperFDs int
	threads              int
	files                int   // below the data folder
	bytes                int64 // in them
}

// atMost allows what a runtime and a database need to breathe.
func (w weight) atMost(early weight) error {
	for _, grown := range []struct {
		what              string
		late, early, room int64
	}{
		{"kB of memory of the daemon", int64(w.daemonRSS), int64(early.daemonRSS), int64(early.daemonRSS)/5 + 8<<10},
		{"kB of memory of the keeper", int64(w.keeperRSS), int64(early.keeperRSS), 1 << 10},
		{"descriptors of the daemon", int64(w.daemonFDs), int64(early.daemonFDs), 2},
		{"descriptors of the keeper", int64(w.keeperFDs), int64(early.keeperFDs), 0},
		{"threads of the daemon", int64(w.threads), int64(early.threads), 8},
		{"files of data", int64(w.files), int64(early.files), 0},
		{"bytes of data", w.bytes, early.bytes, 1 << 20},
	} {
		if grown.late > grown.early+grown.room {
			return fmt.Errorf("%s: %d, was %d", grown.what, grown.late, grown.early)
		}
	}
	return nil
}

func weigh(t *testing.T, d *testkit.Daemon) weight {
	t.Helper()
	pid, err := os.ReadFile(filepath.Join(d.Run, "keeper.pid"))
	if err != nil {
		t.Fatal(err)
	}
	keeper, err := strconv.Atoi(strings.TrimSpace(string(pid)))
	if err != nil {
		t.Fatal(err)
	}
	w := weight{
		daemonRSS: status(t, d.PID(), "VmRSS"), keeperRSS: status(t, keeper, "VmRSS"), threads: status(t, d.PID(), "Threads"),
		daemonFDs: descriptors(t, d.PID()), keeperFDs: descriptors(t, keeper),
	}
	err = filepath.WalkDir(d.Data, func(_ string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // it is being freed
		}
		if err != nil || entry.IsDir() {
			return err
		}
		if info, err := entry.Info(); err == nil {
			w.files, w.bytes = w.files+1, w.bytes+info.Size()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// status reads a number of /proc/PID/status.
func status(t *testing.T, pid int, key string) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if value, found := strings.CutPrefix(line, key+":"); found {
			n, err := strconv.Atoi(strings.Fields(value)[0])
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("no %s in the status of process %d", key, pid)
	return 0
}

func descriptors(t *testing.T, pid int) int {
	t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}
