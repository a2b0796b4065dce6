package client

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"naru/api"
)

// Containers lists the engine's containers: those that run, or all, of these those that every filter KEY=VALUE lets pass.
func (c *Client) Containers(ctx context.Context, all bool, filters ...string) ([]api.ContainerSummary, error) {
	q := url.Values{"all": {strconv.FormatBool(all)}, "filter": filters}
	return call[[]api.ContainerSummary](ctx, c, http.MethodGet, "/v1/containers", q, nil)
}

// Container reads one.
func (c *Client) Container(ctx context.Context, idOrName string) (api.Container, error) {
	return call[api.Container](ctx, c, http.MethodGet, containerPath(idOrName), nil, nil)
}

// StartContainer creates a container and starts it, and returns when it runs.
func (c *Client) StartContainer(ctx context.Context, spec api.ContainerSpec) (api.Container, error) {
	return call[api.Container](ctx, c, http.MethodPost, "/v1/containers/run", nil, api.ContainerRun{Spec: spec})
}

// StopContainer ends a container's process, after grace by force; nil is the container's own grace.
func (c *Client) StopContainer(ctx context.Context, idOrName string, grace *time.Duration) error {
	return c.send(ctx, http.MethodPost, containerPath(idOrName)+"/stop", graceQuery(grace), nil)
}

func graceQuery(grace *time.Duration) url.Values {
	if grace == nil {
		return nil
	}
	return url.Values{"grace": {grace.String()}}
}

// RemoveContainer deletes a container; force kills it first.
func (c *Client) RemoveContainer(ctx context.Context, idOrName string, force bool) error {
	q := url.Values{"force": {strconv.FormatBool(force)}}
	return c.send(ctx, http.MethodDelete, containerPath(idOrName), q, nil)
}

// ContainerLogs calls f for a container's log entries.
func (c *Client) ContainerLogs(ctx context.Context, idOrName string, o api.LogOptions, f func(api.LogEntry) error) error {
	return each(ctx, c, http.MethodGet, containerPath(idOrName)+"/logs", logQuery(o), nil, entries(f))
}

func containerPath(idOrName string) string { return "/v1/containers/" + idOrName }

// ImageList lists the engine's images.
func (c *Client) ImageList(ctx context.Context) ([]api.Image, error) {
	return call[[]api.Image](ctx, c, http.MethodGet, "/v1/images", nil, nil)
}

// Image reads one.
func (c *Client) Image(ctx context.Context, nameOrDigest string) (api.Image, error) {
	return call[api.Image](ctx, c, http.MethodGet, "/v1/images/"+nameOrDigest, nil, nil)
}

// RemoveImage takes a name away, or an image with all its names when a digest is given.
func (c *Client) RemoveImage(ctx context.Context, nameOrDigest string) error {
	return c.send(ctx, http.MethodDelete, "/v1/images/"+nameOrDigest, nil, nil)
}

// PullImage fetches an image from its registry.
func (c *Client) PullImage(ctx context.Context, name string) (api.Image, error) {
	return call[api.Image](ctx, c, http.MethodPost, "/v1/images/pull", url.Values{"name": {name}}, nil)
}

// TagImage gives an image one more name.
func (c *Client) TagImage(ctx context.Context, nameOrDigest, name string) error {
	return c.send(ctx, http.MethodPost, "/v1/images/tag", url.Values{"image": {nameOrDigest}, "name": {name}}, nil)
}

// ImportImage sends an archive: an OCI layout, what docker save writes, or a plain root filesystem.
func (c *Client) ImportImage(ctx context.Context, archive io.Reader, name string) ([]api.Image, error) {
	return call[[]api.Image](ctx, c, http.MethodPost, "/v1/images/import", url.Values{"name": {name}}, archive)
}
