package source

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"naru/naru"
)

// folder is the app's folder. Reads go through an os.Root, which refuses to follow a symbolic link out of it.
type folder struct {
	path string // absolute, with symbolic links resolved
	root *os.Root
}

func openFolder(dir string) (*folder, error) {
	path, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("find folder %s: %w", dir, err)
	}
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return nil, naru.Errorf(naru.NotFound, "open app folder: %w", err)
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, naru.Errorf(naru.InvalidArgument, "open app folder: %w", err)
	}
	return &folder{path: path, root: root}, nil
}

func (f *folder) close() { _ = f.root.Close() } // only read from

// first is the first of names that is a file in the folder, or "".
func (f *folder) first(names []string) string {
	for _, name := range names {
		if f.isFile(name) {
			return name
		}
	}
	return ""
}

// isFile reports whether something that is not a folder has the name. A link that leads out counts: reading it then
// fails by name, where passing it over would silently take the next file.
func (f *folder) isFile(name string) bool {
	info, err := f.root.Stat(name)
	if err == nil {
		return !info.IsDir()
	}
	_, err = f.root.Lstat(name)
	return err == nil
}

// leadsOut reports whether a name is a link out of the folder. What only the builder reads is asked for it here.
func (f *folder) leadsOut(name string) bool {
	_, ok := f.relative(name)
	return !ok
}

func (f *folder) isDir(name string) bool {
	info, err := f.root.Stat(name)
	return err == nil && info.IsDir()
}

// maxFile bounds what is read as an app file: nobody writes a longer one, and a link to a device has no end.
const maxFile = 4 << 20

// read returns the content of a file in the folder.
func (f *folder) read(name string) ([]byte, error) {
	info, err := f.root.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, naru.Errorf(naru.InvalidArgument, "%s does not exist in the app folder", name)
	case err != nil:
		return nil, naru.Errorf(naru.InvalidArgument, "read %s: %w", name, err)
	case !info.Mode().IsRegular():
		return nil, naru.Errorf(naru.InvalidArgument, "%s is not a regular file", name)
	case info.Size() > maxFile:
		return nil, naru.Errorf(naru.InvalidArgument, "%s is larger than %d MiB: is it an app file?", name, maxFile>>20)
	}
	content, err := f.root.ReadFile(name)
	if err != nil {
		return nil, naru.Errorf(naru.InvalidArgument, "read %s: %w", name, err)
	}
	return content, nil
}

// relative turns a path into one relative to the folder; ok is false when it leads out, be it through "..", as an
// absolute path, or over a symbolic link.
func (f *folder) relative(path string) (rel string, ok bool) {
	if !filepath.IsAbs(path) {
		path = filepath.Join(f.path, path)
	}
	if real, err := filepath.EvalSymlinks(path); err == nil && !below(f.path, real) {
		return "", false
	}
	rel, err := filepath.Rel(f.path, path)
	return filepath.ToSlash(rel), err == nil && filepath.IsLocal(rel)
}

func below(dir, path string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}
