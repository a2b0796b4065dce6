package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
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
