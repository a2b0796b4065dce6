package client

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"naru/api"
)

// CreateContainer makes a container and does not start it.
func (c *Client) CreateContainer(ctx context.Context, spec api.ContainerSpec) (api.Container, error) {
	return call[api.Container](ctx, c, http.MethodPost, "/v1/containers", nil, spec)
}

// Start starts a container that was created, or has ended.
func (c *Client) Start(ctx context.Context, idOrName string) error {
	return c.send(ctx, http.MethodPost, containerPath(idOrName)+"/start", nil, nil)
}

// StartAttached starts a container and stays with it until it ends.
func (c *Client) StartAttached(ctx context.Context, idOrName string, q api.AttachRequest, st Streams) (int, error) {
	q.Stdin = st.Stdin != nil
	return c.process(ctx, containerPath(idOrName)+"/start", nil, q, st)
}

// Attach joins a running container until it ends, or st is left.
func (c *Client) Attach(ctx context.Context, idOrName string, q api.AttachRequest, st Streams) (int, error) {
	q.Stdin = st.Stdin != nil
	return c.process(ctx, containerPath(idOrName)+"/attach", nil, q, st)
}

// RestartContainer stops a container, as StopContainer does, and starts it.
func (c *Client) RestartContainer(ctx context.Context, idOrName string, grace *time.Duration) error {
	return c.send(ctx, http.MethodPost, containerPath(idOrName)+"/restart", graceQuery(grace), nil)
}

// KillContainer sends a signal to a container's process 1.
func (c *Client) KillContainer(ctx context.Context, idOrName, signal string) error {
	return c.send(ctx, http.MethodPost, containerPath(idOrName)+"/kill", url.Values{"signal": {signal}}, nil)
}

// PauseContainer stops every process of a container between two instructions.
func (c *Client) PauseContainer(ctx context.Context, idOrName string) error {
	return c.send(ctx, http.MethodPost, containerPath(idOrName)+"/pause", nil, nil)
}

// UnpauseContainer lets them go on.
func (c *Client) UnpauseContainer(ctx context.Context, idOrName string) error {
	return c.send(ctx, http.MethodPost, containerPath(idOrName)+"/unpause", nil, nil)
}

// RenameContainer gives a container another name.
func (c *Client) RenameContainer(ctx context.Context, idOrName, name string) error {
	return c.send(ctx, http.MethodPost, containerPath(idOrName)+"/rename", url.Values{"name": {name}}, nil)
}

// UpdateContainer changes a container's limits and restart policy.
func (c *Client) UpdateContainer(ctx context.Context, idOrName string, u api.ContainerUpdate) error {
	return c.send(ctx, http.MethodPatch, containerPath(idOrName), nil, u)
}

// WaitContainer returns a container at its end.
func (c *Client) WaitContainer(ctx context.Context, idOrName string) (api.Container, error) {
	return call[api.Container](ctx, c, http.MethodPost, containerPath(idOrName)+"/wait", nil, nil)
}

// ContainerUsage reads what a running container uses.
func (c *Client) ContainerUsage(ctx context.Context, idOrName string) (api.Usage, error) {
	return call[api.Usage](ctx, c, http.MethodGet, containerPath(idOrName)+"/usage", nil, nil)
}

// Top lists a running container's processes.
func (c *Client) Top(ctx context.Context, idOrName string) ([]api.Process, error) {
	return call[[]api.Process](ctx, c, http.MethodGet, containerPath(idOrName)+"/top", nil, nil)
}

// PruneContainers removes all containers that do not run and belong to no app.
func (c *Client) PruneContainers(ctx context.Context, filters ...string) (api.Removed, error) {
	return call[api.Removed](ctx, c, http.MethodPost, "/v1/containers/prune", url.Values{"filter": filters}, nil)
}
