package image

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/containerd/containerd/v2/core/mount"

	"naru/engine/quota"
	"naru/naru"
)

// Rootfs is the parts of a writable root file system, for an overlay mount.
type Rootfs struct {
	Lower []string // the image's layers, top first; at least one
	Upper string   // what the container writes
	Work  string   // overlay's own, on the file system of Upper
	Image Image    // what it was made from, without names
}

// Prepare makes a writable root file system named key from the image d, or returns the one that key already names. It
// stays until Release, and so does what it needs of the image.
//
// It is a folder beside the snapshots, not one of them: a snapshot waits four times for the disk, and each start of a
// container would. What a power cut takes of the folder, the next Prepare makes again.
func (s *Store) Prepare(ctx context.Context, key string, d naru.Digest) (_ Rootfs, err error) {
	fresh, err := s.roots.claim(key, d)
	if err != nil {
		return Rootfs{}, fmt.Errorf("prepare root file system %s: %w", key, err)
	}
	b, err := s.base(inNamespace(ctx), d)
	if err == nil {
		err = s.makeRoot(key, d, b.lower[0])
	}
	if err != nil {
		if fresh {
			err = errors.Join(err, s.Release(ctx, key))
		}
		return Rootfs{}, fmt.Errorf("prepare root file system %s: %w", key, err)
	}
	dir := s.rootDir(key)
	return Rootfs{Lower: b.lower, Upper: filepath.Join(dir, "upper"), Work: filepath.Join(dir, "work"), Image: b.image}, nil
}

func (s *Store) rootDir(key string) string { return filepath.Join(s.dir, "roots", key) }

// makeRoot makes the folder, the upper one last: where that is, all is.
func (s *Store) makeRoot(key string, d naru.Digest, top string) error {
	dir := s.rootDir(key)
	upper := filepath.Join(dir, "upper")
	if _, err := os.Lstat(upper); err == nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Join(dir, "work"), 0o700); err != nil {
		return err
	}
	if err := os.Symlink(string(d), filepath.Join(dir, imageLink)); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	unfinished := filepath.Join(dir, "unfinished")
	if err := mkdirLike(unfinished, top); err != nil {
		return err
	}
	return os.Rename(unfinished, upper)
}

// imageLink is the link in a root file system's folder that says which image it was made from.
const imageLink = "image"

// mkdirLike makes a folder with the mode and owner of another: an overlay shows its top layer's.
func mkdirLike(dir, other string) error {
	info, err := os.Stat(other)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	st := info.Sys().(*syscall.Stat_t)
	if err := os.Lchown(dir, int(st.Uid), int(st.Gid)); err != nil {
		return err
	}
	return syscall.Chmod(dir, st.Mode&0o7777)
}

// Release removes the root file system key; one that is gone already is fine. Its space comes back in Collect.
func (s *Store) Release(_ context.Context, key string) error {
	if err := s.setAside(key); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("release root file system %s: %w", key, err)
	}
	s.roots.release(key)
	s.noteRemoval(true)
	return nil
}

// setAside moves the folder, however much is in it, to where Collect removes it, and gives up the size limit that it may
// have been given.
func (s *Store) setAside(key string) error {
	if _, err := os.Lstat(s.rootDir(key)); err != nil {
		return err
	}
	if err := quota.Clear(filepath.Join(s.rootDir(key), "upper")); err != nil {
		return err
	}
	return os.Rename(s.rootDir(key), filepath.Join(s.removedDir(), key+"-"+rand.Text())) // a key may come again
}

func (s *Store) removedDir() string { return filepath.Join(s.dir, "removed") }

// removeAside removes what was set aside.
func (s *Store) removeAside() error {
	entries, err := os.ReadDir(s.removedDir())
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := os.RemoveAll(filepath.Join(s.removedDir(), e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// Snapshots returns the keys of all root file systems that were prepared and not released, sorted.
func (s *Store) Snapshots(context.Context) ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(s.dir, "roots"))
	if err != nil {
		return nil, fmt.Errorf("list root file systems: %w", err)
	}
	keys := make([]string, len(entries))
	for i, e := range entries {
		keys[i] = e.Name()
	}
	return keys, nil
}

// findRoots claims what a process before this one prepared.
func (s *Store) findRoots(ctx context.Context) error {
	for _, dir := range []string{filepath.Join(s.dir, "roots"), s.removedDir()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	keys, err := s.Snapshots(ctx)
	if err != nil {
		return err
	}
	for _, key := range keys {
		d, err := os.Readlink(filepath.Join(s.rootDir(key), imageLink))
		if errors.Is(err, fs.ErrNotExist) {
			continue // it was just being made: of no image yet
		}
		if err != nil {
			return err
		}
		if _, err := s.roots.claim(key, naru.Digest(d)); err != nil {
			return err
		}
	}
	return nil
}

// ParseOverlay reads a snapshotter's mounts of a writable snapshot as the parts of an overlay. A snapshot without a
// parent is a plain folder to bind, which has an Upper and no Lower.
func ParseOverlay(mounts []mount.Mount) (Rootfs, error) {
	if len(mounts) != 1 {
		return Rootfs{}, fmt.Errorf("read overlay: %d mounts, want one", len(mounts))
	}
	m := mounts[0]
	switch m.Type {
	case "bind":
		return Rootfs{Upper: m.Source}, nil
	case "overlay":
	default:
		return Rootfs{}, fmt.Errorf("read overlay: mount of type %q", m.Type)
	}
	var fs Rootfs
	for _, o := range m.Options {
		if v, ok := strings.CutPrefix(o, "lowerdir="); ok {
			fs.Lower = strings.Split(v, ":")
		}
		if v, ok := strings.CutPrefix(o, "upperdir="); ok {
			fs.Upper = v
		}
		if v, ok := strings.CutPrefix(o, "workdir="); ok {
			fs.Work = v
		}
	}
	if len(fs.Lower) == 0 {
		return Rootfs{}, fmt.Errorf("read overlay: no lower layers in %q", m.Options)
	}
	return fs, nil
}
