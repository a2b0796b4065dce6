package sandbox

import (
	"fmt"
	"path/filepath"
	"strings"
	"sync"

	"github.com/opencontainers/cgroups"
	"github.com/opencontainers/cgroups/manager"
	"golang.org/x/sys/unix"
)

// hierarchies are the mount points of this machine's cgroup hierarchies, by controller; of cgroup v2 alone there is one,
// named "". They do not change, and finding them takes longer than making a container's groups in some.
var hierarchies = sync.OnceValues(func() (map[string]string, error) {
	const probe = "/naru"
	m, err := manager.New(&cgroups.Cgroup{Path: probe, Resources: &cgroups.Resources{}})
	if err != nil {
		return nil, fmt.Errorf("find this machine's cgroups: %w", err)
	}
	roots := m.GetPaths()
	for controller, dir := range roots {
		roots[controller] = strings.TrimSuffix(dir, probe)
	}
	return roots, nil
})

// cgroupManager manages the group at path in every hierarchy.
func cgroupManager(path string, res *cgroups.Resources) (cgroups.Manager, error) {
	path = filepath.Clean(path)
	if !filepath.IsAbs(path) || path == "/" {
		return nil, fmt.Errorf("cgroup path %q: want an absolute one below the root", path)
	}
	roots, err := hierarchies()
	if err != nil {
		return nil, err
	}
	dirs := make(map[string]string, len(roots))
	for controller, root := range roots {
		dirs[controller] = root + path
	}
	m, err := manager.NewWithPaths(&cgroups.Cgroup{Path: path, Resources: res}, dirs)
	if err != nil {
		return nil, fmt.Errorf("cgroup %s: %w", path, err)
	}
	return m, nil
}

// inheritCPUs lets groups of cpuset v1 that are made below a group have its processors from the beginning. Given one
// group at a time, each makes the kernel build its scheduling domains anew. A hierarchy's root is not ours to change.
func inheritCPUs(m cgroups.Manager) error {
	dir := m.Path("cpuset")
	roots, err := hierarchies()
	if err != nil || dir == "" || cgroups.IsCgroup2UnifiedMode() || filepath.Dir(dir) == roots["cpuset"] {
		return err
	}
	file, err := openKernelFile(filepath.Join(filepath.Dir(dir), "cgroup.clone_children"))
	if err != nil {
		return err
	}
	defer unix.Close(file)
	_, err = unix.Write(file, []byte{'1'})
	return err
}
