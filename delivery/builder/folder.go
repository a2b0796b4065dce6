package builder

import (
	"encoding/hex"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/tonistiigi/fsutil"
)

// A folder of a session is asked for by name. BuildKit calls the folders of every build "context" and "dockerfile";
// since one session serves all services of an app, the path is put before it: "PATH-context", the path in hex.
const (
	contextRole    = "context"
	dockerfileRole = "dockerfile"
)

// sourceMark before the path asks for a folder without the version control system's files, whose changes would
// otherwise count as changes of the source.
const sourceMark = "src."

// folderName encodes a path relative to the session's root; BuildKit appends "-" and the role.
func folderName(rel string) string { return hex.EncodeToString([]byte(rel)) }

// folder is what a name asks for.
type folder struct {
	path   string // relative to the session's root, and within it
	source bool   // leave out .git
	role   string
}

func parseFolder(name string) (folder, error) {
	rest, source := strings.CutPrefix(name, sourceMark)
	code, role, ok := strings.Cut(rest, "-")
	if !ok {
		return folder{}, fmt.Errorf("folder %q: no role", name)
	}
	// Where BuildKit reads a session id a second time, it puts the path before the name a second time.
	role = strings.TrimPrefix(role, strings.TrimSuffix(name, role))
	if role != contextRole && role != dockerfileRole {
		return folder{}, fmt.Errorf("folder %q: unknown role %q", name, role)
	}
	rel, err := hex.DecodeString(code)
	if err != nil {
		return folder{}, fmt.Errorf("folder %q: %w", name, err)
	}
	f := folder{path: filepath.Clean(string(rel)), source: source, role: role}
	if !filepath.IsLocal(f.path) {
		return folder{}, fmt.Errorf("folder %s is not within the app's folder", f.path)
	}
	return f, nil
}

// folders serves the folders below root to a builder.
type folders struct{ root string }

// LookupDir returns the folder's files. BuildKit reports a folder that is refused as one it has no access to.
func (fs folders) LookupDir(name string) (fsutil.FS, bool) {
	files, err := fs.open(name)
	return files, err == nil
}

func (fs folders) open(name string) (fsutil.FS, error) {
	f, err := parseFolder(name)
	if err != nil {
		return nil, err
	}
	root, err := filepath.EvalSymlinks(fs.root)
	if err != nil {
		return nil, err
	}
	dir, err := filepath.EvalSymlinks(filepath.Join(root, f.path))
	if err != nil {
		return nil, err
	}
	if rel, err := filepath.Rel(root, dir); err != nil || !filepath.IsLocal(rel) {
		return nil, fmt.Errorf("folder %s leads out of the app's folder", f.path)
	}
	files, err := fsutil.NewFS(dir)
	if err != nil || !f.source {
		return files, err
	}
	return fsutil.NewFilterFS(files, &fsutil.FilterOpt{ExcludePatterns: []string{".git"}})
}
