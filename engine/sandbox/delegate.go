package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/moby/sys/userns"
	"github.com/opencontainers/cgroups"
	"golang.org/x/sys/unix"
)

// OwnCgroup is the path of a cgroup of naru's own: right below the root, or for an ordinary user below the cgroup of
// process pid, when that was delegated to the user; "" when it was not.
func OwnCgroup(name string, pid int) string {
	if !userns.RunningInUserNS() {
		return "/" + name
	}
	parent := strings.TrimSuffix(delegated(pid), "/"+delegateLeaf)
	if parent == "" {
		return ""
	}
	return parent + "/" + name
}

// delegateLeaf is the cgroup, below the one that was delegated, in which naru itself is: the kernel gives controllers only
// to groups whose parent has no process.
const delegateLeaf = "naru-daemon"

// Delegate prepares the cgroup v2 that this process, an ordinary user's, is in for containers with limits, when it was
// delegated to the user: this process moves below it, and what it has of controllers is handed on to its children. It
// does nothing when nothing was delegated, or when that has been done before.
func Delegate() error {
	own := delegated(os.Getpid())
	if own == "" || filepath.Base(own) == delegateLeaf {
		return nil
	}
	dir := filepath.Join(cgroupMount, own)
	leaf := filepath.Join(dir, delegateLeaf)
	if err := os.Mkdir(leaf, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("use the delegated cgroup %s: %w", own, err)
	}
	if err := os.WriteFile(filepath.Join(leaf, "cgroup.procs"), []byte("0"), 0); err != nil {
		return fmt.Errorf("enter cgroup %s/%s: %w", own, delegateLeaf, err)
	}
	controllers, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	if err != nil {
		return fmt.Errorf("read the controllers of cgroup %s: %w", own, err)
	}
	for _, c := range strings.Fields(string(controllers)) {
		if err := os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+"+c), 0); err != nil {
			return fmt.Errorf("hand on controller %s of cgroup %s, in which there must be no other process: %w", c, own, err)
		}
	}
	return nil
}

// delegated is the cgroup v2 of a process, "" when this process may not make others below it.
func delegated(pid int) string {
	b, err := os.ReadFile(procPath(pid, "cgroup"))
	if err != nil || !cgroups.IsCgroup2UnifiedMode() {
		return ""
	}
	_, own, _ := strings.Cut(strings.TrimSpace(string(b)), "::")
	for _, file := range []string{"", "cgroup.procs", "cgroup.subtree_control"} {
		if unix.Access(filepath.Join(cgroupMount, own, file), unix.W_OK) != nil {
			return ""
		}
	}
	return own
}
