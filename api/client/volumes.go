package client

import (
	"context"
	"io"
	"net/http"

	"naru/api"
	"naru/naru"
)

// Volumes lists all named volumes.
func (c *Client) Volumes(ctx context.Context) ([]api.Volume, error) {
	return call[[]api.Volume](ctx, c, http.MethodGet, "/v1/volumes", nil, nil)
}

// Volume reads one.
func (c *Client) Volume(ctx context.Context, name string) (api.Volume, error) {
	return call[api.Volume](ctx, c, http.MethodGet, volumePath(name), nil, nil)
}

// CreateVolume makes one, bounded when limit is not zero.
func (c *Client) CreateVolume(ctx context.Context, name string, limit naru.DiskLimit) (api.Volume, error) {
	return call[api.Volume](ctx, c, http.MethodPost, "/v1/volumes", nil, api.VolumeCreate{Name: name, Limit: limit})
}

// RemoveVolume deletes one, with what is in it.
func (c *Client) RemoveVolume(ctx context.Context, name string) error {
	return c.send(ctx, http.MethodDelete, volumePath(name), nil, nil)
}

// ExportVolume returns what is in a volume as a tar stream. The caller closes it.
func (c *Client) ExportVolume(ctx context.Context, name string) (io.ReadCloser, error) {
	return c.stream(ctx, volumePath(name)+"/files", nil)
}

// ImportVolume fills a volume that is new or empty from a tar stream.
func (c *Client) ImportVolume(ctx context.Context, name string, tar io.Reader) error {
	return c.send(ctx, http.MethodPut, volumePath(name)+"/files", nil, tar)
}

// PruneVolumes removes the volumes that no container uses and that belong to no app.
func (c *Client) PruneVolumes(ctx context.Context) (api.Removed, error) {
	return call[api.Removed](ctx, c, http.MethodPost, "/v1/volumes/prune", nil, nil)
}

func volumePath(name string) string { return "/v1/volumes/" + name }
