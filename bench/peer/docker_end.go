package peer

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// endShims ends containerd and its shims where they outlived dockerd. They name its folder in their arguments.
func (d *Docker) endShims() error {
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range lines {
		line, gone := os.ReadFile(file)
		if gone != nil || !bytes.Contains(line, []byte("containerd")) || !bytes.Contains(line, []byte(d.dir+"/")) {
			continue
		}
		pid, bad := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		err = errors.Join(err, bad, kill(pid))
	}
	return err
}

// kill ends a process, which may have ended by itself meanwhile.
func kill(pid int) error {
	if err := syscall.Kill(pid, syscall.SIGKILL); !errors.Is(err, syscall.ESRCH) {
		return err
	}
	return nil
}

func (d *Docker) removeCgroups() error {
	var err error
	for _, pattern := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/*"} {
		groups, bad := filepath.Glob(pattern + d.parent)
		err = errors.Join(err, bad)
		for _, group := range groups {
			err = errors.Join(err, removeTree(group))
		}
	}
	return err
}

// removeTree removes a cgroup and those below it, the deepest first: each is a folder that only rmdir removes. What a
// dockerd that had to be killed left running in them is killed.
func removeTree(root string) error {
	var groups []string
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			groups = append(groups, path)
		}
		return err
	})
	for _, group := range slices.Backward(groups) {
		err = errors.Join(err, removeGroup(group))
	}
	return err
}

// removeGroup tries again for a while: a process that was killed leaves its cgroup a moment later.
func removeGroup(group string) error {
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		err := os.Remove(group)
		if !errors.Is(err, syscall.EBUSY) || time.Now().After(deadline) {
			return err
		}
		inside, err := os.ReadFile(filepath.Join(group, "cgroup.procs"))
		if err != nil {
			return err
		}
		for _, line := range strings.Fields(string(inside)) {
			pid, err := strconv.Atoi(line)
			if err := errors.Join(err, kill(pid)); err != nil {
				return err
			}
		}
	}
}
