package builder

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	buildkit "github.com/moby/buildkit/executor"
	"golang.org/x/sys/unix"

	"naru/engine/image"
)

// ownFolder returns the plain folder behind a cache mount that has an owner of its own (RUN --mount=type=cache,uid=…).
// BuildKit makes such a cache as an overlay over a layer with nothing but the empty folder that has the owner. A bind of
// an overlay cannot be idmapped into the step's user namespace; but since the lower folder is empty, the upper one with
// the same owner is the same cache.
func ownFolder(ref buildkit.MountableRef, sub string, undo *undoList) (string, bool) {
	name := strings.Trim(filepath.Clean("/"+sub), "/")
	inner := unshared(ref)
	if inner == ref || name == "" || strings.Contains(name, "/") {
		return "", false
	}
	mounts, err := mountsOf(inner, undo)
	if err != nil {
		return "", false
	}
	layers, err := image.ParseOverlay(mounts)
	if err != nil || len(layers.Lower) != 1 {
		return "", false
	}
	lower, upper := filepath.Join(layers.Lower[0], name), filepath.Join(layers.Upper, name)
	if !isEmptyFolder(lower) || copyFolder(lower, upper) != nil {
		return "", false
	}
	return upper, true
}

// isEmptyFolder reports whether name is a folder, not a link to one, with nothing in it.
func isEmptyFolder(name string) bool {
	st, err := os.Lstat(name)
	if err != nil || !st.IsDir() {
		return false
	}
	entries, err := os.ReadDir(name)
	return err == nil && len(entries) == 0
}

// copyFolder makes the folder to with the owner and mode of from, unless it is there.
func copyFolder(from, to string) error {
	var st unix.Stat_t
	if err := unix.Lstat(to, &st); err == nil {
		if st.Mode&unix.S_IFMT != unix.S_IFDIR {
			return unix.ENOTDIR
		}
		return nil
	}
	if err := unix.Lstat(from, &st); err != nil {
		return err
	}
	// The folder gets its name only with its owner, for a step beside this one may ask for the same cache.
	tmp, err := os.MkdirTemp(filepath.Dir(to), ".new")
	if err != nil {
		return err
	}
	if err = takeName(tmp, to, st); err != nil {
		_ = os.Remove(tmp)
	}
	if errors.Is(err, unix.EEXIST) {
		return nil
	}
	return err
}

func takeName(tmp, to string, st unix.Stat_t) error {
	if err := unix.Lchown(tmp, int(st.Uid), int(st.Gid)); err != nil {
		return err
	}
	if err := unix.Chmod(tmp, st.Mode&0o7777); err != nil {
		return err
	}
	return unix.Renameat2(unix.AT_FDCWD, tmp, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
}
