//go:build !front

package main

import (
	"context"
	"io"

	"naru/api"
)

// StatFile implements server.Files.
func (c containers) StatFile(ctx context.Context, idOrName, path string) (api.FileInfo, error) {
	info, err := c.e.StatFile(ctx, idOrName, path)
	return api.FileInfo(info), err
}

// CopyOut implements server.Files.
func (c containers) CopyOut(ctx context.Context, idOrName, path string, w io.Writer) error {
	return c.e.CopyOut(ctx, idOrName, path, w)
}

// Export implements server.Files.
func (c containers) Export(ctx context.Context, idOrName string, w io.Writer) error {
	return c.e.Export(ctx, idOrName, w)
}

// Changes implements server.Files.
func (c containers) Changes(ctx context.Context, idOrName string) ([]api.FileChange, error) {
	changes, err := c.e.Changes(ctx, idOrName)
	out := make([]api.FileChange, len(changes))
	for i, ch := range changes {
		out[i] = api.FileChange{Kind: string(ch.Kind), Path: ch.Path}
	}
	return out, err
}

// CopyIn implements server.Files.
func (c containers) CopyIn(ctx context.Context, idOrName, folder string, r io.Reader, keepOwners bool) error {
	return c.e.CopyIn(ctx, idOrName, folder, r, keepOwners)
}
