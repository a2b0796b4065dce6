package source

import (
	"fmt"
	"go/build"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"naru/naru"
)

// goPackage chooses the main package of the Go module in context: the one asked for, else the module's root, else the
// only command below cmd, else the command that is called like the service.
func goPackage(f *folder, context, asked, service string) (string, error) {
	if asked != "" {
		return askedPackage(f, context, asked)
	}
	if isMain(f, context) {
		return ".", nil
	}
	commands := goCommands(f, context)
	switch {
	case len(commands) == 1:
		return commands[0], nil
	case slices.Contains(commands, "./cmd/"+service):
		return "./cmd/" + service, nil
	case len(commands) == 0:
		return "", naru.Errorf(naru.InvalidArgument, "the Go module%s has no main package, neither at its root nor below cmd", inFolder(context))
	}
	return "", naru.Errorf(naru.InvalidArgument, "the Go module%s has several main packages, and none is called %s: choose one in compose.yaml with `x-naru: {package: %s}`, or among %s",
		inFolder(context), service, commands[0], strings.Join(commands, ", "))
}

func askedPackage(f *folder, context, asked string) (string, error) {
	rel := path.Clean(strings.TrimPrefix(asked, "./"))
	if !filepath.IsLocal(rel) {
		return "", naru.Errorf(naru.InvalidArgument, "package %s lies outside the build context", asked)
	}
	if !isMain(f, path.Join(context, rel)) {
		return "", naru.Errorf(naru.InvalidArgument, "package %s is not a main package of the Go module%s", asked, inFolder(context))
	}
	if rel == "." {
		return ".", nil
	}
	return "./" + rel, nil
}

func inFolder(context string) string {
	if context == "." {
		return ""
	}
	return " in " + context
}

// goCommands are the main packages below cmd, as "./cmd/name".
func goCommands(f *folder, context string) []string {
	folders, err := fs.ReadDir(f.root.FS(), path.Join(context, "cmd"))
	if err != nil {
		return nil // no such folder
	}
	var commands []string
	for _, entry := range folders {
		name := path.Join("cmd", entry.Name())
		if entry.IsDir() && isMain(f, path.Join(context, name)) {
			commands = append(commands, "./"+name)
		}
	}
	return commands
}

// isMain reports whether a folder holds a main package, judged as for a build on Linux without cgo.
func isMain(f *folder, dir string) bool {
	rel, ok := f.relative(dir)
	if !ok {
		return false
	}
	ctxt := build.Default
	ctxt.GOOS, ctxt.CgoEnabled = "linux", false
	pkg, err := ctxt.ImportDir(filepath.Join(f.path, rel), 0)
	return err == nil && pkg.IsCommand()
}

// commandPackage is the main package that a Procfile's program means: "bin/web", "./web" and "web" mean ./cmd/web, or
// the root of the module when there is no such command.
func commandPackage(f *folder, program string) (string, error) {
	name := path.Base(program)
	commands := goCommands(f, ".")
	switch {
	case slices.Contains(commands, "./cmd/"+name):
		return "./cmd/" + name, nil
	case isMain(f, "."):
		return ".", nil
	case len(commands) == 0:
		return "", fmt.Errorf("the Go module has no main package, neither at its root nor below cmd")
	}
	return "", fmt.Errorf("the Go module has no ./cmd/%s: its main packages are %s", name, strings.Join(commands, ", "))
}
