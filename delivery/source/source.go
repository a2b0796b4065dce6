// Package source reads a folder as an app. It receives the folder, owns the rules by which a Compose file, a Procfile,
// a Dockerfile or a Go module describes services, and hands on a naru.AppSpec in which everything is said: sorted,
// checked, and independent of which kind of file said it. What it cannot honour it refuses with file, line and column.
package source

import (
	"context"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"

	"naru/naru"
)

// Options change how a folder is read.
type Options struct {
	App         naru.AppName // instead of the name the app file, or the folder, gives
	Environment []string     // KEY=value pairs that win over .env when the app file is interpolated; may be nil
}

// composeNames are the names of an app file, the first found wins; overrideNames those of the file laid over it.
var (
	composeNames  = []string{"compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"}
	overrideNames = []string{"compose.override.yaml", "compose.override.yml", "docker-compose.override.yml", "docker-compose.override.yaml"}
)

// Load reads the app in dir: its Compose file, or else what its Procfile, Dockerfile or go.mod imply. It reads nothing
// outside dir, symbolic links included, so that a folder from a stranger can be loaded.
func Load(ctx context.Context, dir string, opts Options) (naru.AppSpec, error) {
	f, err := openFolder(dir)
	if err != nil {
		return naru.AppSpec{}, err
	}
	defer f.close()
	spec, err := load(ctx, f, opts)
	if err != nil {
		return naru.AppSpec{}, fmt.Errorf("read app in %s: %w", dir, err)
	}
	return spec, nil
}

func load(ctx context.Context, f *folder, opts Options) (naru.AppSpec, error) {
	if f.first(composeNames) != "" {
		return loadCompose(ctx, f, opts)
	}
	return infer(f, opts)
}

// appName is the name asked for, or else the folder's, bent into a DNS label.
func appName(f *folder, opts Options) (naru.AppName, error) {
	name := opts.App
	if name == "" {
		name = naru.AppName(label(filepath.Base(f.path)))
	}
	if err := (naru.AppEnv{App: name, Environment: naru.Production}).Validate(); err != nil {
		return "", fmt.Errorf("name the app: %w", err)
	}
	return name, nil
}

var notLabel = regexp.MustCompile(`[^a-z0-9]+`)

// label makes a DNS label of a folder's name: "My_App" becomes "my-app".
func label(s string) string {
	s = strings.Trim(notLabel.ReplaceAllString(strings.ToLower(s), "-"), "-")
	return strings.Trim(s[:min(len(s), 63)], "-")
}
