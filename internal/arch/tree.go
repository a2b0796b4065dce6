package arch

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"strconv"
	"strings"
)

// module is the tree's module path and the prefix of its packages.
const module = "naru"

// source is one Go file of the tree, read: where it lies and what it says.
type source struct {
	dir    string // folder, relative to the tree's root, with slashes
	name   string // relative to the root
	test   bool
	file   *ast.File
	places *token.FileSet
}

// readTree parses every Go file below root, whatever its build constraints say.
func readTree(root string) ([]source, error) {
	var sources []source
	places := token.NewFileSet()
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			return skipFolder(entry.Name(), name == root)
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		file, err := parser.ParseFile(places, name, nil, parser.SkipObjectResolution)
		if err != nil {
			return fmt.Errorf("parse: %w", err)
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		sources = append(sources, source{path.Dir(rel), rel, strings.HasSuffix(rel, "_test.go"), file, places})
		return nil
	})
	return sources, err
}

// skipFolder leaves out the folders that the go command leaves out of ./... as well.
func skipFolder(name string, isRoot bool) error {
	if !isRoot && (strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") || name == "testdata" || name == "bin") {
		return filepath.SkipDir
	}
	return nil
}

// imports are the import paths of the file.
func (s source) imports() []string {
	var paths []string
	for _, spec := range s.file.Imports {
		p, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			panic("arch: parsed an import that is no string: " + spec.Path.Value)
		}
		paths = append(paths, p)
	}
	return paths
}

// place is file:line of a node, relative to the root.
func (s source) place(node ast.Node) string {
	return fmt.Sprintf("%s:%d", s.name, s.places.Position(node.Pos()).Line)
}

// roomOf finds the room with the longest path that folder dir lies in.
func roomOf(dir string) (room, bool) {
	var best room
	for _, r := range rooms {
		if under(dir, r.path) && len(r.path) > len(best.path) {
			best = r
		}
	}
	return best, best.path != ""
}

// matches reports whether pattern, of a room's may, names this room: by its path, or by "folder/*" above it.
func (r room) matches(pattern string) bool {
	if above, all := strings.CutSuffix(pattern, "/*"); all {
		return strings.HasPrefix(r.path, above+"/")
	}
	return r.path == pattern
}

// under reports whether p is dir or lies below it.
func under(p, dir string) bool {
	return p == dir || strings.HasPrefix(p, dir+"/")
}

// folderOf turns an import path into a folder of the tree; false for a path of another module.
//
// Package naru is both a folder, naru/naru, and the module: import "naru/naru".
func folderOf(importPath string) (string, bool) {
	return strings.CutPrefix(importPath, module+"/")
}
