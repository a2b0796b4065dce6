package builder

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/cyphar/filepath-securejoin/pathrs-lite"
	buildkit "github.com/moby/buildkit/executor"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"naru/engine/image"
)

// undoList is what must be undone after a step, last first. A failed undoing is left to clearMounts at the next start:
// the step itself has ended well or badly by then.
type undoList struct{ list []func() error }

func (u *undoList) add(f func() error) { u.list = append(u.list, f) }

func (u *undoList) run() {
	for _, f := range slices.Backward(u.list) {
		_ = f()
	}
}

func upper(s string) string { return strings.ToUpper(s) }

// bindAll turns the mounts of a step into binds of host paths and tmpfs, parents first.
func (e *executor) bindAll(ctx context.Context, mounts []buildkit.Mount, undo *undoList) ([]specs.Mount, error) {
	var list []specs.Mount
	for _, m := range mounts {
		s, err := e.bind(ctx, m, undo)
		if err != nil {
			return nil, fmt.Errorf("mount %s: %w", m.Dest, err)
		}
		list = append(list, s)
	}
	slices.SortStableFunc(list, func(a, b specs.Mount) int {
		return strings.Count(a.Destination, "/") - strings.Count(b.Destination, "/")
	})
	return list, nil
}

func (e *executor) bind(ctx context.Context, m buildkit.Mount, undo *undoList) (specs.Mount, error) {
	ref, err := m.Src.Mount(ctx, m.Readonly)
	if err != nil {
		return specs.Mount{}, err
	}
	dest := path.Join("/", m.Dest)
	if dir, ok := ownFolder(ref, m.Selector, undo); ok && !m.Readonly {
		return specs.Mount{Destination: dest, Type: "bind", Source: dir, Options: []string{"rbind"}}, nil
	}
	mounts, err := mountsOf(ref, undo)
	if err != nil {
		return specs.Mount{}, err
	}
	if len(mounts) != 1 {
		return specs.Mount{}, fmt.Errorf("%d mounts where one was expected", len(mounts))
	}
	one := mounts[0]
	if one.Type == "tmpfs" {
		return specs.Mount{Destination: dest, Type: "tmpfs", Source: "tmpfs", Options: one.Options}, nil
	}
	source, err := e.hostPath(one, m.Selector, undo)
	if err != nil {
		return specs.Mount{}, err
	}
	options := []string{"rbind"}
	if m.Readonly || one.ReadOnly() {
		options = append(options, "ro")
	}
	return specs.Mount{Destination: dest, Type: "bind", Source: source, Options: options}, nil
}

// hostPath returns a path of the host under which the mount's content, or the part of it that sub names, can be bound.
func (e *executor) hostPath(m mount.Mount, sub string, undo *undoList) (string, error) {
	source := m.Source
	if m.Type != "bind" && m.Type != "rbind" {
		dir, err := e.mountTemporarily(m, undo)
		if err != nil {
			return "", err
		}
		source = dir
	}
	if path.Join("/", sub) == "/" {
		return source, nil
	}
	// Another step may share these files and swap a link in at any moment, so the part is opened within its root and bound
	// by descriptor, not by path.
	f, err := pathrs.OpenInRoot(source, sub)
	if err != nil {
		return "", err
	}
	defer f.Close()
	return e.bindDescriptor(f, undo)
}

func (e *executor) bindDescriptor(f *os.File, undo *undoList) (string, error) {
	st, err := f.Stat()
	if err != nil {
		return "", err
	}
	target, err := e.mountPoint(st.IsDir(), undo)
	if err != nil {
		return "", err
	}
	if err := unix.Mount(fmt.Sprintf("/proc/self/fd/%d", f.Fd()), target, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return "", fmt.Errorf("bind %s: %w", f.Name(), err)
	}
	undo.add(func() error { return unix.Unmount(target, unix.MNT_DETACH) })
	return target, nil
}

func (e *executor) mountTemporarily(m mount.Mount, undo *undoList) (string, error) {
	target, err := e.mountPoint(true, undo)
	if err != nil {
		return "", err
	}
	if err := m.Mount(target); err != nil {
		return "", fmt.Errorf("mount %s: %w", m.Type, err)
	}
	undo.add(func() error { return unix.Unmount(target, unix.MNT_DETACH) })
	return target, nil
}

// mountPoint makes an empty folder, or file, to mount on.
func (e *executor) mountPoint(dir bool, undo *undoList) (string, error) {
	if err := os.MkdirAll(e.mounts, 0o700); err != nil {
		return "", err
	}
	name, err := os.MkdirTemp(e.mounts, "")
	if err != nil {
		return "", err
	}
	undo.add(func() error { return os.Remove(name) })
	if dir {
		return name, nil
	}
	file := filepath.Join(name, "file")
	undo.add(func() error { return os.Remove(file) })
	return file, os.WriteFile(file, nil, 0o600)
}

// withView calls fn with a folder that shows the root file system, read-only.
func (e *executor) withView(rootfs image.Rootfs, fn func(dir string) error) error {
	if len(rootfs.Lower) == 0 {
		return fn(rootfs.Upper)
	}
	undo := &undoList{}
	defer undo.run()
	lower := strings.Join(append([]string{rootfs.Upper}, rootfs.Lower...), ":")
	dir, err := e.mountTemporarily(mount.Mount{Type: "overlay", Source: "overlay", Options: []string{"ro", image.MountOption, "lowerdir=" + lower}}, undo)
	if err != nil {
		return fmt.Errorf("look into root file system: %w", err)
	}
	return fn(dir)
}

// stubCleaner notes which mount points the image in dir does not have and returns the function that removes those that
// the runner made for its mounts, while they are empty: they are not part of what the step built.
func stubCleaner(dir, upperDir string, mounts []buildkit.Mount) func() error {
	dests := []string{"/etc/resolv.conf", "/etc/hosts"}
	for _, m := range mounts {
		dests = append(dests, path.Join("/", m.Dest))
	}
	var stubs []string
	for _, d := range dests {
		if rel, err := filepath.Rel("/", d); err == nil && missing(dir, rel) {
			stubs = append(stubs, rel)
		}
	}
	return func() error { return removeStubs(upperDir, stubs) }
}

// missing reports whether the path is not in dir; one that leads through a link is taken as present.
func missing(dir, rel string) bool {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return false
	}
	defer closeRoot(root)
	_, err = root.Lstat(rel)
	return errors.Is(err, fs.ErrNotExist)
}

func closeRoot(r *os.Root) { _ = r.Close() } // it was only looked through

func removeStubs(upperDir string, stubs []string) error {
	root, err := os.OpenRoot(upperDir)
	if err != nil {
		return err
	}
	defer closeRoot(root)
	for _, s := range slices.Backward(stubs) {
		st, err := root.Lstat(s)
		if err != nil || st.Mode().IsRegular() && st.Size() > 0 || !st.Mode().IsRegular() && !st.IsDir() {
			continue
		}
		_ = root.Remove(s) // a folder with something in it stays: the step put it there
	}
	return nil
}
