package faults

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"naru/internal/testkit"
)

// weight is what the daemon and its keeper hold of the machine.
type weight struct {
	daemonRSS, keeperRSS int // kB
	daemonFDs, keeperFDs int
	threads              int

	daemonGoroutines, keeperGoroutines int

	files int   // below the data folder
	bytes int64 // in them
}

// atMost allows what a runtime and a database need to breathe.
func (w weight) atMost(early weight) error {
	for _, grown := range []struct {
		what              string
		late, early, room int64
	}{
		{"kB of memory of the daemon", int64(w.daemonRSS), int64(early.daemonRSS), int64(early.daemonRSS)/5 + 8<<10},
		{"kB of memory of the keeper", int64(w.keeperRSS), int64(early.keeperRSS), 2 << 10},
		{"descriptors of the daemon", int64(w.daemonFDs), int64(early.daemonFDs), 2},
		{"descriptors of the keeper", int64(w.keeperFDs), int64(early.keeperFDs), 0},
		{"threads of the daemon", int64(w.threads), int64(early.threads), 8},
		{"goroutines of the daemon", int64(w.daemonGoroutines), int64(early.daemonGoroutines), 0},
		{"goroutines of the keeper", int64(w.keeperGoroutines), int64(early.keeperGoroutines), 0},
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
	keeper, err := strconv.Atoi(strings.TrimSpace(readFile(t, d.Run, "keeper.pid")))
	if err != nil {
		t.Fatal(err)
	}
	w := weight{
		daemonGoroutines: ask(t, d.PID(), filepath.Join(d.Run, "goroutines"), daemonSays),
		keeperGoroutines: ask(t, keeper, filepath.Join(d.Run, "keeper.log"), keeperSays),
		daemonRSS:        status(t, d.PID(), "VmRSS"), keeperRSS: status(t, keeper, "VmRSS"), threads: status(t, d.PID(), "Threads"),
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

// What the two say of their goroutines when a signal asks.
var (
	daemonSays = regexp.MustCompile(`goroutine profile: total (\d+)`)
	keeperSays = regexp.MustCompile(`a signal asks: .* (\d+) goroutines`)
)

// ask lets a process say in a file how many goroutines it has.
func ask(t *testing.T, pid int, file string, says *regexp.Regexp) (n int) {
	t.Helper()
	if err := os.Truncate(file, 0); err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, 20*time.Second, "a process says how many goroutines it has", func() error {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		said := says.FindSubmatch(text)
		if said == nil {
			return fmt.Errorf("%s says %q", file, text)
		}
		n, err = strconv.Atoi(string(said[1]))
		return err
	})
	return n
}

func readFile(t *testing.T, dir, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
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
