package client

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"naru/api"
)

// StatFile looks at a path of a container, after all symlinks.
func (c *Client) StatFile(ctx context.Context, idOrName, path string) (api.FileInfo, error) {
	return call[api.FileInfo](ctx, c, http.MethodGet, containerPath(idOrName)+"/stat", url.Values{"path": {path}}, nil)
}

// CopyOut returns a file or folder of a container as a tar stream, in which it has its own name. The caller closes it.
func (c *Client) CopyOut(ctx context.Context, idOrName, path string) (io.ReadCloser, error) {
	return c.stream(ctx, containerPath(idOrName)+"/files", url.Values{"path": {path}})
}

// ExportContainer returns a container's root filesystem as a tar stream. The caller closes it.
func (c *Client) ExportContainer(ctx context.Context, idOrName string) (io.ReadCloser, error) {
	return c.stream(ctx, containerPath(idOrName)+"/export", nil)
}

// ContainerChanges lists what of a container differs from its image.
func (c *Client) ContainerChanges(ctx context.Context, idOrName string) ([]api.FileChange, error) {
	return call[[]api.FileChange](ctx, c, http.MethodGet, containerPath(idOrName)+"/changes", nil, nil)
}

// CopyIn makes the files of a tar stream in a folder of a container.
func (c *Client) CopyIn(ctx context.Context, idOrName, folder string, tar io.Reader, keepOwners bool) error {
	q := url.Values{"path": {folder}, "owners": {strconv.FormatBool(keepOwners)}}
	return c.send(ctx, http.MethodPut, containerPath(idOrName)+"/files", q, tar)
}

// stream is for answers that are read as they come.
func (c *Client) stream(ctx context.Context, path string, q url.Values) (io.ReadCloser, error) {
	resp, err := c.do(ctx, http.MethodGet, path, q, nil)
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}
