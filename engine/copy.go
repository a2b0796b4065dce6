package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"naru/engine/archive"
	"naru/naru"
)

// FileInfo is what a path of a container means.
type FileInfo struct {
	Name    string
	Size    int64
	Mode    fs.FileMode
	ModTime time.Time
}

// StatFile looks at a path of a container, running or not, after all symlinks.
func (e *Engine) StatFile(ctx context.Context, idOrName, name string) (info FileInfo, err error) {
	err = e.withRoot(ctx, idOrName, name, func(root *os.File, _ uint32) error {
		f, err := resolveIn(root, name)
		if err != nil {
			return fileError(name, err)
		}
		defer f.Close()
		st, err := f.Stat()
		if err == nil {
			info = FileInfo{Name: path.Base(path.Clean("/" + name)), Size: st.Size(), Mode: st.Mode(), ModTime: st.ModTime()}
		}
		return err
	})
	return info, err
}

// CopyOut writes a file or folder of a container, running or not, as a tar stream in which it has its own name. Of a path
// that ends with "/." it is what is in the folder. A symlink is copied as one.
func (e *Engine) CopyOut(ctx context.Context, idOrName, name string, w io.Writer) error {
	return e.withRoot(ctx, idOrName, name, func(root *os.File, base uint32) error {
		dir, file := path.Split(path.Clean("/" + name))
		if file == "" || strings.HasSuffix(name, "/.") {
			dir, file = name, "."
		}
		return inFolder(root, dir, func(r *os.Root) error {
			if _, err := r.Lstat(file); err != nil {
				return fileError(name, err)
			}
			return archive.Pack(w, r, file, file, archive.Options{Base: base})
		})
	})
}

// CopyIn makes the files of a tar stream in a folder of a container, running or not. Without keepOwners they belong to
// its root.
func (e *Engine) CopyIn(ctx context.Context, idOrName, dir string, r io.Reader, keepOwners bool) error {
	return e.withRoot(ctx, idOrName, dir, func(root *os.File, base uint32) error {
		o := archive.Options{Base: base}
		if !keepOwners {
			o.Owner = &archive.Owner{}
		}
		return inFolder(root, dir, func(into *os.Root) error { return archive.Unpack(r, into, o) })
	})
}

func inFolder(root *os.File, name string, f func(*os.Root) error) error {
	dir, err := resolveIn(root, name)
	if err != nil {
		return fileError(name, err)
	}
	defer dir.Close()
	if info, err := dir.Stat(); err != nil || !info.IsDir() {
		return errors.Join(err, naru.Errorf(naru.InvalidArgument, "%s is no folder in the container", name))
	}
	r, err := os.OpenRoot(fdPath(dir))
	if err != nil {
		return err
	}
	defer closeRoot(r)
	return f(r)
}

func fileError(name string, err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return naru.Errorf(naru.NotFound, "the container has no %s", name)
	}
	return err
}

// withRoot calls f with the container's root folder and the id on it that is the container's 0. Of a container that runs
// it is what its processes see, of another its layers; that one cannot be started meanwhile.
func (e *Engine) withRoot(ctx context.Context, idOrName, name string, f func(root *os.File, base uint32) error) error {
	en, err := e.find(idOrName)
	if err != nil {
		return err
	}
	if c := e.snapshot(en); c.State == Running {
		return e.withRunningRoot(en, c, f)
	}
	en.op.Lock()
	defer en.op.Unlock()
	c := e.snapshot(en)
	switch {
	case e.isGone(en):
		return naru.Errorf(naru.NotFound, "container %s was removed", c.Name)
	case c.State == Running:
		return e.withRunningRoot(en, c, f)
	}
	if m, ok := coveredBy(c, name); ok {
		return naru.Errorf(naru.FailedPrecondition, "%s is on a mount, which container %s has only while it runs: start it, or use %s", name, c.Name,
			firstOf(m.HostPath, "naru volume export "+m.Volume))
	}
	layers, err := e.cfg.Images.Prepare(ctx, c.ID, c.Image)
	if err != nil {
		return fmt.Errorf("find its root filesystem: %w", err)
	}
	root, err := e.viewRoot(layers, true)
	if err != nil {
		return err
	}
	defer root.Close()
	return f(root, 0)
}

func (e *Engine) withRunningRoot(en *entry, c Container, f func(root *os.File, base uint32) error) error {
	root, err := os.OpenFile(fmt.Sprintf("/proc/%d/root", c.PID), unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return fmt.Errorf("open the root of container %s: %w", c.Name, err)
	}
	defer root.Close()
	if !e.lives(en) { // the pid may have been another's by then
		return naru.Errorf(naru.FailedPrecondition, "container %s has just ended", c.Name)
	}
	return asUser(c.IDBase, func() error { return f(root, c.IDBase) })
}

// lives reports whether the container's process 1 is the same as ever.
func (e *Engine) lives(en *entry) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return en.pidfd != nil && unix.PidfdSendSignal(int(en.pidfd.Fd()), 0, nil, 0) == nil
}
