package fork

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// TestAFailedBirthHasNoPidFD: the kernel writes down the number of the pidfd before it looks at the cgroup, and closes the
// pidfd when it dislikes that. Soon the number is another file's, which is not to be closed.
func TestAFailedBirthHasNoPidFD(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: it makes a cgroup")
	}
	removed := removedCgroup(t)
	defer removed.Close()
	exe, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer exe.Close()
	b, err := newBirth(Cmd{Exe: exe, Args: []string{"none"}, CgroupFD: int(removed.Fd())})
	if err != nil {
		t.Fatal(err)
	}
	defer b.close()
	if err := b.fork(); err == nil {
		t.Fatal("born in a cgroup that was removed")
	}
	if b.pidFD != -1 {
		t.Errorf("its pidfd is %d", b.pidFD)
	}
}

// removedCgroup is a group of cgroup v2 that somebody has open and that is no more.
func removedCgroup(t *testing.T) *os.File {
	for _, root := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		dir := filepath.Join(root, filepath.Base(t.TempDir())+"-naru-fork")
		if _, err := os.Stat(filepath.Join(root, "cgroup.procs")); err != nil {
			continue
		}
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(dir)
		if err := errors.Join(err, os.Remove(dir)); err != nil {
			t.Fatal(err)
		}
		return f
	}
	t.Skip("there is no cgroup v2 here")
	return nil
}
