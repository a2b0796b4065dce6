package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"naru/engine/archive"
	"naru/engine/image"
)

// Export writes a container's root filesystem, running or not, as a tar stream: its image's files with what it wrote
// over them, and nothing of what is mounted there.
func (e *Engine) Export(ctx context.Context, idOrName string, w io.Writer) error {
	_, layers, err := e.layersOf(ctx, idOrName)
	if err != nil {
		return err
	}
	view, err := e.viewRoot(layers, false)
	if err != nil {
		return err
	}
	defer view.Close()
	root, err := os.OpenRoot(fdPath(view))
	if err != nil {
		return err
	}
	defer closeRoot(root)
	return archive.Pack(w, root, ".", ".", archive.Options{})
}

func (e *Engine) layersOf(ctx context.Context, idOrName string) (Container, image.Rootfs, error) {
	en, err := e.find(idOrName)
	if err != nil {
		return Container{}, image.Rootfs{}, err
	}
	c := e.snapshot(en)
	layers, err := e.cfg.Images.Prepare(ctx, c.ID, c.Image)
	if err != nil {
		return c, layers, fmt.Errorf("find the root filesystem of %s: %w", c.Name, err)
	}
	return c, layers, nil
}

// FileChange is a path of a container that differs from its image.
type FileChange struct {
	Kind ChangeKind
	Path string
}

// ChangeKind is how it differs, in docker's letters.
type ChangeKind string

// The kinds of changes.
const (
	FileAdded   ChangeKind = "A"
	FileChanged ChangeKind = "C"
	FileDeleted ChangeKind = "D"
)

// Changes lists what a container has written over its image, sorted by path.
func (e *Engine) Changes(ctx context.Context, idOrName string) ([]FileChange, error) {
	_, layers, err := e.layersOf(ctx, idOrName)
	if err != nil {
		return nil, err
	}
	below, err := e.viewImage(layers)
	if err != nil {
		return nil, err
	}
	defer below.Close()
	var changes []FileChange
	err = filepath.WalkDir(layers.Upper, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) { // it may run, and remove files
			return nil
		}
		if err != nil {
			return err
		}
		name := path[len(layers.Upper):]
		if name == "" || slices.Contains(ownMountPoints(), name) {
			return nil
		}
		kind, err := changeOf(path, name, below)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		changes = append(changes, FileChange{kind, name})
		if kind != FileDeleted && entry.IsDir() && isOpaque(path) {
			changes = append(changes, hiddenIn(path, name, below)...)
		}
		return nil
	})
	slices.SortFunc(changes, func(a, b FileChange) int { return strings.Compare(a.Path, b.Path) })
	return changes, err
}

// ownMountPoints are made in each container for what is mounted there.
func ownMountPoints() []string {
	return []string{"/dev", "/proc", "/sys", "/etc/resolv.conf", "/etc/hosts", "/etc/hostname"}
}

// viewImage opens the root of what lies below a container's own layer.
func (e *Engine) viewImage(layers image.Rootfs) (*os.File, error) {
	if len(layers.Lower) == 1 { // no overlay has a single layer
		return os.OpenFile(layers.Lower[0], unix.O_PATH|unix.O_DIRECTORY, 0)
	}
	return e.viewRoot(image.Rootfs{Upper: layers.Lower[0], Lower: layers.Lower[1:]}, false)
}

// changeOf says how an entry of a container's own layer differs from what is below.
func changeOf(path, name string, below *os.File) (ChangeKind, error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return "", &os.PathError{Op: "stat", Path: path, Err: err}
	}
	if st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 0 { // how an overlay says that something is gone
		return FileDeleted, nil
	}
	there, err := isThere(below, name)
	if there {
		return FileChanged, err
	}
	return FileAdded, err
}

// isThere looks for a path under a root, without following a link at its end.
func isThere(root *os.File, name string) (bool, error) {
	how := &unix.OpenHow{Flags: unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
	fd, err := unix.Openat2(int(root.Fd()), name, how)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		return false, nil
	}
	if err != nil {
		return false, &os.PathError{Op: "open", Path: name, Err: err}
	}
	return true, unix.Close(fd)
}

// isOpaque reports whether a folder hides all that the image has there: it was removed and made again.
func isOpaque(path string) bool {
	mark := make([]byte, 1)
	n, err := unix.Lgetxattr(path, "user.overlay.opaque", mark)
	return err == nil && n == 1 && mark[0] == 'y'
}

// hiddenIn are what an opaque folder hides of the image's.
func hiddenIn(path, name string, below *os.File) (hidden []FileChange) {
	dir, err := resolveIn(below, name)
	if err != nil {
		return nil // the image has no such folder
	}
	defer dir.Close()
	entries, err := os.ReadDir(fdPath(dir))
	if err != nil {
		return nil // it has something else there
	}
	for _, entry := range entries {
		if _, err := os.Lstat(filepath.Join(path, entry.Name())); errors.Is(err, fs.ErrNotExist) {
			hidden = append(hidden, FileChange{FileDeleted, filepath.Join(name, entry.Name())})
		}
	}
	return hidden
}
