package builder

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// clearMounts unmounts what a builder that was killed left: below dir, its own, and in the folder for temporary files
// those that BuildKit made there of files in the image store.
func clearMounts(dir, images string) error {
	stale, err := mountinfo.GetMounts(func(m *mountinfo.Info) (skip, stop bool) {
		return !under(m.Mountpoint, dir) && !isStray(m, images), false
	})
	if err != nil {
		return fmt.Errorf("list mounts: %w", err)
	}
	for _, m := range stale {
		if err := unix.Unmount(m.Mountpoint, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) {
			return fmt.Errorf("unmount %s: %w", m.Mountpoint, err)
		}
		if !under(m.Mountpoint, dir) {
			_ = os.Remove(m.Mountpoint) // in the folder for temporary files, empty
		}
	}
	return removeMountPoints(dir)
}

func under(path, dir string) bool { return strings.HasPrefix(path, dir+"/") }

// isStray reports whether m is a temporary mount of BuildKit's or containerd's that shows files of the image store: an
// overlay whose options name the store, or a bind whose root, relative to its file system, is the end of a path there.
func isStray(m *mountinfo.Info, images string) bool {
	name := filepath.Base(m.Mountpoint)
	if filepath.Dir(m.Mountpoint) != filepath.Clean(os.TempDir()) ||
		!strings.HasPrefix(name, "buildkit-mount") && !strings.HasPrefix(name, "containerd-mount") {
		return false
	}
	if strings.Contains(m.VFSOptions, images+"/") {
		return true
	}
	before, _, ok := strings.Cut(m.Root, "/snapshots/snapshots/")
	return ok && before != "" && strings.HasSuffix(images, before)
}

// removeMountPoints removes the mount points below dir, which are empty folders and files.
func removeMountPoints(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := filepath.Join(dir, e.Name())
		if err := os.Remove(filepath.Join(name, "file")); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := os.Remove(name); err != nil {
			return err
		}
	}
	return nil
}
