package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"naru/engine/archive"
	"naru/engine/image"
	"naru/engine/quota"
	"naru/engine/volume"
	"naru/naru"
)

// Volume is a named volume and who uses it.
type Volume struct {
	volume.Volume
	UsedBy []string // names of containers, running or not
}

// Volumes returns all named volumes.
func (e *Engine) Volumes(context.Context) ([]Volume, error) {
	list, err := e.volumes.List()
	out := make([]Volume, len(list))
	for i, v := range list {
		out[i] = Volume{v, e.usersOf(v.Name, false)}
	}
	return out, err
}

// Volume returns one.
func (e *Engine) Volume(_ context.Context, name string) (Volume, error) {
	v, err := e.volumes.Get(name)
	return Volume{v, e.usersOf(name, false)}, err
}

// CreateVolume makes a volume, with a limit when that is not zero; one that is there already is a Conflict.
func (e *Engine) CreateVolume(ctx context.Context, name string, limit naru.DiskLimit) (Volume, error) {
	if err := checkDisk(limit); err != nil {
		return Volume{}, err
	}
	if _, err := e.volumes.Get(name); err == nil {
		return Volume{}, naru.Errorf(naru.Conflict, "there is a volume %s already", name)
	}
	if _, err := e.volumes.Ensure(name, limit); err != nil {
		return Volume{}, err
	}
	e.noteVolume("create", name)
	return e.Volume(ctx, name)
}

// RemoveVolume deletes a named volume that no container uses.
func (e *Engine) RemoveVolume(name string) error {
	if users := e.usersOf(name, false); len(users) > 0 {
		return naru.Errorf(naru.FailedPrecondition, "volume %s is used by container %s: remove that first", name, users[0])
	}
	if err := e.volumes.Remove(name); err != nil {
		return err
	}
	e.noteVolume("destroy", name)
	return nil
}

func (e *Engine) noteVolume(action, name string) {
	e.events.add(Event{Time: time.Now().UTC(), Kind: "volume", Action: action, ID: name, Name: name})
}

// usersOf names the containers that have the volume: all, or those with a process in it.
func (e *Engine) usersOf(name string, running bool) []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var users []string
	for _, en := range e.containers {
		if running && en.c.State != Running && en.c.State != Starting {
			continue
		}
		if slices.ContainsFunc(en.c.Spec.Mounts, func(m Mount) bool { return m.Volume == name }) {
			users = append(users, en.c.Name)
		}
	}
	slices.Sort(users)
	return users
}

// ExportVolume writes what is in a volume as a tar stream, with the owners that containers see.
func (e *Engine) ExportVolume(_ context.Context, name string, w io.Writer) error {
	v, err := e.volumes.Get(name)
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(v.Path)
	if err != nil {
		return fmt.Errorf("export volume %s: %w", name, err)
	}
	defer closeRoot(root)
	return archive.Pack(w, root, ".", ".", archive.Options{})
}

// ImportVolume fills a volume that is new or empty from a tar stream: whole, or not at all.
func (e *Engine) ImportVolume(_ context.Context, name string, r io.Reader) error {
	if users := e.usersOf(name, true); len(users) > 0 {
		return naru.Errorf(naru.FailedPrecondition, "volume %s is used by container %s, which runs: stop that first", name, users[0])
	}
	filled := false
	_, err := e.volumes.Fill(name, naru.DiskLimit{}, func(dir string) error {
		filled = true
		return unpackInto(dir, r, archive.Options{})
	})
	if err == nil && !filled {
		return naru.Errorf(naru.FailedPrecondition, "volume %s has something in it: import into a new one, or remove it first", name)
	}
	if err == nil {
		e.noteVolume("create", name)
	}
	return err
}

func unpackInto(dir string, r io.Reader, o archive.Options) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer closeRoot(root)
	return archive.Unpack(r, root, o)
}

// sources are where a container's mounts come from on the host.
type sources struct {
	byTarget map[string]string
	open     []*os.File // what the paths lead through, until the mounts are made
}

func (s *sources) close() { closeAll(s.open...) }

// findSources makes the container's volumes and finds the paths of all its mounts.
func (e *Engine) findSources(c Container, root image.Rootfs, from *sources) error {
	from.byTarget = map[string]string{}
	for _, m := range c.Spec.Mounts {
		source, err := e.findSource(c, m, root, from)
		if err != nil {
			return err
		}
		from.byTarget[m.Target] = source
	}
	return nil
}

func (e *Engine) findSource(c Container, m Mount, root image.Rootfs, from *sources) (string, error) {
	if m.Volume == "" {
		if _, err := os.Stat(m.HostPath); err != nil {
			return "", naru.Errorf(naru.InvalidArgument, "mount on %s: %w", m.Target, err)
		}
		return m.HostPath, nil
	}
	dir, err := e.readyVolume(m, root)
	if err == nil && c.Spec.HostUserNS && !m.ReadOnly {
		err = refuseBounded(m, dir)
	}
	if err != nil || m.Subpath == "" {
		return dir, err
	}
	f, err := openSubpath(dir, m.Subpath)
	if err != nil {
		return "", naru.Errorf(naru.InvalidArgument, "mount on %s: volume %s has no %s: %w", m.Target, m.Volume, m.Subpath, err)
	}
	from.open = append(from.open, f)
	return fdPath(f), nil
}

// refuseBounded keeps the host's root, whatever capabilities it lacks, off a volume with a limit: the kernel lets the
// owner of a file take it out of its project, except in a user namespace.
func refuseBounded(m Mount, dir string) error {
	limit, err := quota.Of(dir)
	if err == nil && limit != (naru.DiskLimit{}) {
		err = naru.Errorf(naru.FailedPrecondition, "mount on %s: the size of volume %s is limited, which root without a user namespace could lift: mount it for reading only, or leave out userns host", m.Target, m.Volume)
	}
	return err
}

// openSubpath holds what the path means now: whoever else writes on the volume cannot make it mean something outside.
func openSubpath(dir, sub string) (*os.File, error) {
	volume, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer volume.Close()
	return resolveIn(volume, sub)
}

// readyVolume makes the volume when it is new. What the image has at the target is the beginning of a volume that is
// empty, with its owner and mode, as docker has it; a volume that a running container has stays as it is.
func (e *Engine) readyVolume(m Mount, root image.Rootfs) (string, error) {
	dir := filepath.Join(e.cfg.DataDir, "volumes", m.Volume)
	empty, err := volume.IsEmpty(dir)
	if err != nil {
		return "", err
	}
	if !empty || m.Subpath != "" || len(e.usersOf(m.Volume, true)) > 1 { // this one starts, too
		return e.volumes.Ensure(m.Volume, m.Limit)
	}
	begin, err := e.openImageFolder(root, m.Target)
	if err != nil {
		return "", err
	}
	if begin == nil {
		return e.volumes.Ensure(m.Volume, m.Limit)
	}
	defer begin.Close()
	return e.volumes.Fill(m.Volume, m.Limit, func(to string) error { return copyFolder(begin, to) })
}

// openImageFolder opens what the root filesystem has at a path when that is a folder; else it returns nil.
func (e *Engine) openImageFolder(root image.Rootfs, target string) (*os.File, error) {
	view, err := e.viewRoot(root, false)
	if err != nil {
		return nil, err
	}
	defer view.Close()
	f, err := resolveIn(view, target)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for %s in the image: %w", target, err)
	}
	if info, err := f.Stat(); err != nil || !info.IsDir() {
		closeAll(f)
		return nil, err
	}
	return f, nil
}

// copyFolder copies a folder into another, with all owners, and gives that its owner and mode.
func copyFolder(from *os.File, to string) error {
	root, err := os.OpenRoot(fdPath(from))
	if err != nil {
		return err
	}
	defer closeRoot(root)
	r, w := io.Pipe()
	packed := make(chan error, 1)
	go func() {
		err := archive.Pack(w, root, ".", ".", archive.Options{})
		packed <- errors.Join(err, w.CloseWithError(err))
	}()
	err = unpackInto(to, r, archive.Options{})
	_ = r.CloseWithError(err) // lets Pack go when Unpack has failed; never fails
	return errors.Join(err, <-packed)
}

// coveredBy returns the container's mount that a path leads into, as far as names tell.
func coveredBy(c Container, name string) (Mount, bool) {
	name = path.Clean("/" + name)
	for _, m := range c.Spec.Mounts {
		target := path.Clean(m.Target)
		if name == target || len(name) > len(target) && name[:len(target)] == target && name[len(target)] == '/' {
			return m, true
		}
	}
	return Mount{}, false
}
