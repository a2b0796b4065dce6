package client

import (
	"context"
	"net/http"
	"net/url"

	"naru/api"
)

// Networks lists the engine's networks.
func (c *Client) Networks(ctx context.Context) ([]api.Network, error) {
	return call[[]api.Network](ctx, c, http.MethodGet, "/v1/networks", nil, nil)
}

// Network reads one.
func (c *Client) Network(ctx context.Context, name string) (api.Network, error) {
	return call[api.Network](ctx, c, http.MethodGet, networkPath(name), nil, nil)
}

// CreateNetwork makes one.
func (c *Client) CreateNetwork(ctx context.Context, q api.NetworkCreate) (api.Network, error) {
	return call[api.Network](ctx, c, http.MethodPost, "/v1/networks", nil, q)
}

// RemoveNetwork removes one that no container is on.
func (c *Client) RemoveNetwork(ctx context.Context, name string) error {
	return c.send(ctx, http.MethodDelete, networkPath(name), nil, nil)
}

// PruneNetworks removes the networks that no container is on, and returns their names.
func (c *Client) PruneNetworks(ctx context.Context) ([]string, error) {
	return call[[]string](ctx, c, http.MethodPost, "/v1/networks/prune", nil, nil)
}

// ConnectNetwork puts a container on a network.
func (c *Client) ConnectNetwork(ctx context.Context, name string, q api.NetworkConnect) error {
	return c.send(ctx, http.MethodPost, networkPath(name)+"/connect", nil, q)
}

// DisconnectNetwork takes a container off a network.
func (c *Client) DisconnectNetwork(ctx context.Context, name, container string) error {
	return c.send(ctx, http.MethodPost, networkPath(name)+"/disconnect", nil, api.NetworkDisconnect{Container: container})
}

// NetworkPath reads how requests reach a container: its port, such as "80" or "53/udp", or with "" all its ports.
func (c *Client) NetworkPath(ctx context.Context, container, port string) (api.NetworkPath, error) {
	q := url.Values{}
	if port != "" {
		q.Set("port", port)
	}
	return call[api.NetworkPath](ctx, c, http.MethodGet, containerPath(container)+"/path", q, nil)
}

func networkPath(name string) string { return "/v1/networks/" + name }
