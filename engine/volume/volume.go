// Package volume keeps named volumes: folders that outlive the containers that use them. It receives a name and hands
// on a path; who owns the files inside is settled by the sandbox's id-mapped mounts, so a volume's files keep the ids
// that the container sees.
package volume

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"naru/engine/quota"
	"naru/naru"
)

// Store is a folder of volumes.
type Store struct {
	dir string
	mu  sync.Mutex // one volume is made or filled at a time
}

// Volume is a named volume.
type Volume struct {
	Name      string
	Path      string
	Limit     naru.DiskLimit
	CreatedAt time.Time
}

var validName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$`)

// Open makes the folder when it is missing.
func Open(dir string) (*Store, error) {
	// Others may pass through but not list: containers' root is nobody here, and reaches a volume only by its mount.
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return nil, fmt.Errorf("open volumes: %w", err)
	}
	s := &Store{dir: dir}
	return s, s.clearHalfMade()
}

// halfMade begins the names of folders that are not volumes yet, or no more; no volume's name begins so.
const halfMade = ".new-"

// clearHalfMade removes what a daemon that died was filling or removing.
func (s *Store) clearHalfMade() error {
	left, err := filepath.Glob(filepath.Join(s.dir, halfMade+"*"))
	if err != nil {
		return fmt.Errorf("open volumes: %w", err)
	}
	for _, path := range left {
		if err := discard(path); err != nil {
			return fmt.Errorf("remove a volume that was not finished: %w", err)
		}
	}
	return nil
}

// discard removes a folder that is no volume, with the limit that it had.
func discard(path string) error {
	return errors.Join(quota.Clear(path), os.RemoveAll(path))
}

// Ensure makes the volume when it is new and returns its folder. A limit that is asked for holds from now on: for a
// volume that has something in it, only when it was made with one.
func (s *Store) Ensure(name string, limit naru.DiskLimit) (string, error) {
	if err := checkName(name); err != nil {
		return "", err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	path := filepath.Join(s.dir, name)
	_, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return path, s.place(name, limit, func(string) error { return nil })
	case err != nil:
		return "", fmt.Errorf("look at volume %s: %w", name, err)
	case limit == naru.DiskLimit{}:
		return path, nil
	}
	return path, changeLimit(name, path, limit)
}

func changeLimit(name, path string, limit naru.DiskLimit) error {
	before, err := quota.Of(path)
	if err != nil {
		return err
	}
	empty, err := IsEmpty(path)
	if err != nil {
		return err
	}
	if !empty && before == (naru.DiskLimit{}) {
		return naru.Errorf(naru.FailedPrecondition, "volume %s was made without a size and has something in it: export it, remove it, make it with a size and import it", name)
	}
	return quota.Set(limit, path)
}

func checkName(name string) error {
	if !validName.MatchString(name) {
		return naru.Errorf(naru.InvalidArgument, "volume name %q: use letters, digits, '_', '.' and '-', starting with a letter or digit", name)
	}
	return nil
}

// Fill puts what fill makes in a folder into the place of a volume that is empty or not there yet, whole or not at all,
// and returns the volume's folder. One that has something in it stays as it is.
func (s *Store) Fill(name string, limit naru.DiskLimit, fill func(dir string) error) (string, error) {
	if err := checkName(name); err != nil {
		return "", err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	path := filepath.Join(s.dir, name)
	if empty, err := IsEmpty(path); err != nil || !empty {
		return path, err
	}
	return path, s.place(name, limit, func(dir string) error {
		if err := fill(dir); err != nil {
			return err
		}
		return errors.Join(quota.Check(dir), syncFile(dir))
	})
}

// place makes a volume aside and puts it into its place, where nothing or an empty one is. The caller holds s.mu.
func (s *Store) place(name string, limit naru.DiskLimit, fill func(dir string) error) error {
	path, tmp := filepath.Join(s.dir, name), filepath.Join(s.dir, halfMade+name)
	if err := discard(tmp); err != nil { // of an attempt that could not even be undone
		return fmt.Errorf("make volume %s: %w", name, err)
	}
	if err := os.Mkdir(tmp, 0o755); err != nil {
		return fmt.Errorf("make volume %s: %w", name, err)
	}
	err := bound(tmp, path, limit)
	if err == nil {
		err = fill(tmp)
	}
	if err == nil {
		err = replace(tmp, path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("make volume %s: %w", name, err), discard(tmp))
	}
	return nil
}

// bound gives a new folder the limit that is asked for, or that of the empty volume whose place it takes.
func bound(tmp, path string, limit naru.DiskLimit) error {
	if limit == (naru.DiskLimit{}) {
		var err error
		if limit, err = quota.Of(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if limit == (naru.DiskLimit{}) {
		return nil
	}
	return quota.Set(limit, tmp)
}

// replace puts a folder into the place of nothing or of an empty one, whose limit goes.
func replace(tmp, path string) error {
	old, err := os.Open(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := unix.Rename(tmp, path); err != nil || old == nil { // os.Rename refuses a folder
		return err
	}
	return errors.Join(quota.ClearOpen(old), old.Close())
}

// syncFile brings a file system's writes to its disk, all of it: the files of a volume are many.
func syncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.Syncfs(int(f.Fd()))
}

// IsEmpty reports whether a folder has nothing in it, or is not there.
func IsEmpty(path string) (bool, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("look into a volume: %w", err)
	}
	defer f.Close()
	_, err = f.Readdirnames(1)
	if errors.Is(err, io.EOF) {
		return true, nil
	}
	return false, err
}

// Get returns a volume; one that does not exist is NotFound.
func (s *Store) Get(name string) (Volume, error) {
	if err := checkName(name); err != nil {
		return Volume{}, err
	}
	path := filepath.Join(s.dir, name)
	var st unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_BTIME|unix.STATX_MTIME, &st)
	if errors.Is(err, fs.ErrNotExist) {
		return Volume{}, naru.Errorf(naru.NotFound, "there is no volume %s", name)
	}
	if err != nil {
		return Volume{}, fmt.Errorf("look at volume %s: %w", name, err)
	}
	at := st.Mtime // where the file system does not know when a folder was made
	if st.Mask&unix.STATX_BTIME != 0 {
		at = st.Btime
	}
	limit, err := quota.Of(path)
	if err != nil {
		return Volume{}, err
	}
	return Volume{Name: name, Path: path, Limit: limit, CreatedAt: time.Unix(at.Sec, int64(at.Nsec)).UTC()}, nil
}

// List returns all volumes in the order of their names.
func (s *Store) List() ([]Volume, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, fmt.Errorf("list volumes: %w", err)
	}
	var list []Volume
	for _, e := range entries {
		v, err := s.Get(e.Name())
		if code := naru.CodeOf(err); code == naru.NotFound || code == naru.InvalidArgument {
			continue // it went, or is none
		}
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, nil
}

// Remove deletes the volume and what is in it; removing one that does not exist is no error. It is no volume any more
// before anything of it goes, so that no half of it is left under its name.
func (s *Store) Remove(name string) error {
	if !validName.MatchString(name) {
		return naru.Errorf(naru.InvalidArgument, "volume name %q is none", name)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	gone := filepath.Join(s.dir, halfMade+name)
	err := os.Rename(filepath.Join(s.dir, name), gone)
	if err == nil {
		err = discard(gone)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove volume %s: %w", name, err)
	}
	return nil
}
