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

// halfMade begins the names of folders that are not volumes yet; no volume's name begins so.
const halfMade = ".new-"

// clearHalfMade removes what a daemon that died was filling.
func (s *Store) clearHalfMade() error {
	left, err := filepath.Glob(filepath.Join(s.dir, halfMade+"*"))
	if err != nil {
		return fmt.Errorf("open volumes: %w", err)
	}
	for _, path := range left {
		if err := os.RemoveAll(path); err != nil {
			return fmt.Errorf("remove a volume that was not finished: %w", err)
		}
	}
	return nil
}

// Ensure makes the volume when it is new and returns its folder.
func (s *Store) Ensure(name string) (string, error) {
	if err := checkName(name); err != nil {
		return "", err
	}
	path := filepath.Join(s.dir, name)
	if err := os.Mkdir(path, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("make volume %s: %w", name, err)
	}
	return path, nil
}

func checkName(name string) error {
	if !validName.MatchString(name) {
		return naru.Errorf(naru.InvalidArgument, "volume name %q: use letters, digits, '_', '.' and '-', starting with a letter or digit", name)
	}
	return nil
}

// Fill puts what fill makes in a folder into the place of a volume that is empty or not there yet, whole or not at all,
// and returns the volume's folder. One that has something in it stays as it is.
func (s *Store) Fill(name string, fill func(dir string) error) (string, error) {
	if err := checkName(name); err != nil {
		return "", err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	path := filepath.Join(s.dir, name)
	if empty, err := IsEmpty(path); err != nil || !empty {
		return path, err
	}
	tmp := filepath.Join(s.dir, halfMade+name)
	if err := os.Mkdir(tmp, 0o755); err != nil {
		return "", fmt.Errorf("fill volume %s: %w", name, err)
	}
	err := fill(tmp)
	if err == nil {
		err = syncFile(tmp)
	}
	if err == nil {
		err = unix.Rename(tmp, path) // onto an empty folder, or none; os.Rename refuses a folder
	}
	if err != nil {
		return "", errors.Join(fmt.Errorf("fill volume %s: %w", name, err), os.RemoveAll(tmp))
	}
	return path, nil
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
	return Volume{Name: name, Path: path, CreatedAt: time.Unix(at.Sec, int64(at.Nsec)).UTC()}, nil
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

// Remove deletes the volume and what is in it; removing one that does not exist is no error.
func (s *Store) Remove(name string) error {
	if !validName.MatchString(name) {
		return naru.Errorf(naru.InvalidArgument, "volume name %q is none", name)
	}
	if err := os.RemoveAll(filepath.Join(s.dir, name)); err != nil {
		return fmt.Errorf("remove volume %s: %w", name, err)
	}
	return nil
}
