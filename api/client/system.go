package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"naru/api"
)

// EngineEvents calls f with every change from now on, after those since a time when that is not zero.
func (c *Client) EngineEvents(ctx context.Context, since, until time.Time, f func(api.EngineEvent) error) error {
	q := url.Values{}
	for name, t := range map[string]time.Time{"since": since, "until": until} {
		if !t.IsZero() {
			q.Set(name, t.UTC().Format(time.RFC3339Nano))
		}
	}
	return each(ctx, c, http.MethodGet, "/v1/system/events", q, nil, f)
}

// Fsck looks for what belongs to nothing; with repair it is removed.
func (c *Client) Fsck(ctx context.Context, repair bool) (api.FsckReport, error) {
	return call[api.FsckReport](ctx, c, http.MethodPost, "/v1/system/fsck", url.Values{"repair": {strconv.FormatBool(repair)}}, nil)
}

// DiskUsage measures the disk.
func (c *Client) DiskUsage(ctx context.Context) ([]api.DiskUse, error) {
	return call[[]api.DiskUse](ctx, c, http.MethodGet, "/v1/system/df", nil, nil)
}

// PruneCache forgets all results of builds.
func (c *Client) PruneCache(ctx context.Context) (api.Removed, error) {
	return call[api.Removed](ctx, c, http.MethodPost, "/v1/system/prune-cache", nil, nil)
}
