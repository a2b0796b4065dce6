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

// CopyIn implements server.Files.
func (c containers) CopyIn(ctx context.Context, idOrName, folder string, r io.Reader, keepOwners bool) error {
	return c.e.CopyIn(ctx, idOrName, folder, r, keepOwners)
}
