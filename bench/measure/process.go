package measure

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// process is a line of the kernel's table of them.
type process struct {
	parent int
	cpu    time.Duration // used so far
}

// tick is the unit in which the kernel tells of time in /proc, on every machine that Go knows.
const tick = 10 * time.Millisecond

// parseStat reads /proc/PID/stat. The name, in parentheses, may hold anything.
func parseStat(stat []byte) (process, error) {
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 13 {
		return process{}, fmt.Errorf("read the state of a process: %q", stat)
	}
	var n [3]int
	for i, field := range []int{1, 11, 12} { // ppid, utime, stime
		var err error
		if n[i], err = strconv.Atoi(fields[field]); err != nil {
			return process{}, fmt.Errorf("read the state of a process: %w", err)
		}
	}
	return process{parent: n[0], cpu: time.Duration(n[1]+n[2]) * tick}, nil
}

// processes are all that run now.
func processes() (map[int]process, error) {
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	all := map[int]process{}
	for _, file := range files {
		stat, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		p, err := parseStat(stat)
		if err != nil {
			return nil, err
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err != nil {
			return nil, err
		}
		all[pid] = p
	}
	return all, nil
}

// Overhead finds the processes of a container engine that are not its containers': the daemon, what holds the containers,
// and all below these, but for the containers themselves and what is below them.
func Overhead(daemon int, containers []int) ([]int, error) {
	all, err := processes()
	if err != nil {
		return nil, err
	}
	return overhead(all, daemon, containers)
}

func overhead(all map[int]process, daemon int, containers []int) ([]int, error) {
	children := map[int][]int{}
	for pid, p := range all {
		children[p.parent] = append(children[p.parent], pid)
	}
	roots := []int{daemon}
	for _, pid := range containers {
		p, ok := all[pid]
		if !ok || p.parent == 1 || p.parent == os.Getpid() {
			return nil, fmt.Errorf("process %d of a container has no parent of its engine's: %+v", pid, p)
		}
		roots = append(roots, p.parent)
	}
	found := map[int]bool{}
	var add func(pid int)
	add = func(pid int) {
		if found[pid] || slices.Contains(containers, pid) {
			return
		}
		found[pid] = true
		for _, child := range children[pid] {
			add(child)
		}
	}
	for _, pid := range roots {
		add(pid)
	}
	pids := make([]int, 0, len(found))
	for pid := range found {
		pids = append(pids, pid)
	}
	slices.Sort(pids)
	return pids, nil
}

// CPU is the time that processes have used so far.
func CPU(pids []int) (used time.Duration, err error) {
	for _, pid := range pids {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return 0, err
		}
		p, err := parseStat(stat)
		if err != nil {
			return 0, err
		}
		used += p.cpu
	}
	return used, nil
}

// PSS is the memory of processes in bytes, each page that several processes have divided among them.
func PSS(pids []int) (bytes int64, err error) {
	for _, pid := range pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			return 0, err
		}
		kB, err := parsePSS(string(text))
		if err != nil {
			return 0, fmt.Errorf("memory of process %d: %w", pid, err)
		}
		bytes += kB << 10
	}
	return bytes, nil
}

func parsePSS(rollup string) (kB int64, err error) {
	_, rest, found := strings.Cut(rollup, "\nPss:")
	value, _, _ := strings.Cut(rest, "kB")
	if !found {
		return 0, fmt.Errorf("no Pss in %q", rollup)
	}
	return strconv.ParseInt(strings.TrimSpace(value), 10, 64)
}
