// Package volume keeps named volumes: folders that outlive the containers that use them. It receives a name and hands
// on a path; who owns the files inside is settled by the sandbox's id-mapped mounts, so a volume's files keep the ids
// that the container sees.
package volume

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"

	"naru/naru"
)

// Store is a folder of volumes.
type Store struct{ dir string }

var validName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$`)

// Open makes the folder when it is missing.
func Open(dir string) (*Store, error) {
	// Others may pass through but not list: containers' root is nobody here, and reaches a volume only by its mount.
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return nil, fmt.Errorf("open volumes: %w", err)
	}
	return &Store{dir}, nil
}

// Ensure makes the volume when it is new and returns its folder.
func (s *Store) Ensure(name string) (string, error) {
	if !validName.MatchString(name) {
		return "", naru.Errorf(naru.InvalidArgument, "volume name %q: use letters, digits, '_', '.' and '-', starting with a letter or digit", name)
	}
	path := filepath.Join(s.dir, name)
	if err := os.Mkdir(path, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("make volume %s: %w", name, err)
	}
	return path, nil
}

// List returns the names of all volumes, sorted.
func (s *Store) List() ([]string, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, fmt.Errorf("list volumes: %w", err)
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, nil
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
