package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strconv"
)

// ListCgroups returns the names of the cgroups right below path, in any hierarchy; none when path is gone.
func ListCgroups(path string) ([]string, error) {
	g, err := newCgroup(path, nil)
	if err != nil {
		return nil, err
	}
	names := map[string]bool{}
	for _, dir := range g.dirs() {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("list cgroups below %s: %w", path, err)
		}
		for _, e := range entries {
			if e.IsDir() {
				names[e.Name()] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(names)), nil
}

// Processes returns the ids of all processes in a cgroup and below it, sorted.
func Processes(path string) ([]int, error) {
	g, err := newCgroup(path, nil)
	if err != nil {
		return nil, err
	}
	pids, err := g.members()
	if err != nil {
		return nil, fmt.Errorf("list processes of cgroup %s: %w", path, err)
	}
	return slices.Sorted(maps.Keys(pids)), nil
}

// Companions returns the ids of all processes that process pid, the first of a container, sees as its own: those of its
// pid namespace, sorted. It stands in for Processes where there is no cgroup.
func Companions(pid int) ([]int, error) {
	theirs, err := os.Readlink(procPath(pid, "ns/pid"))
	if err != nil {
		return nil, fmt.Errorf("find the pid namespace of process %d: %w", pid, err)
	}
	if ours, err := os.Readlink("/proc/self/ns/pid"); err != nil || ours == theirs {
		return []int{pid}, err // it shares ours: nobody can say which belong together
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, e := range entries {
		if n, err := strconv.Atoi(e.Name()); err == nil {
			if ns, _ := os.Readlink(procPath(n, "ns/pid")); ns == theirs {
				pids = append(pids, n)
			}
		}
	}
	slices.Sort(pids)
	return pids, nil
}
