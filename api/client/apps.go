package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"naru/api"
	"naru/delivery"
	"naru/naru"
)

// Version asks the daemon who it is.
func (c *Client) Version(ctx context.Context) (api.VersionInfo, error) {
	return call[api.VersionInfo](ctx, c, http.MethodGet, "/v1/version", nil, nil)
}

// Apps lists all apps.
func (c *Client) Apps(ctx context.Context) ([]api.App, error) {
	return call[[]api.App](ctx, c, http.MethodGet, "/v1/apps", nil, nil)
}

// Instances lists what runs of an app.
func (c *Client) Instances(ctx context.Context, ae naru.AppEnv) ([]naru.Instance, error) {
	return call[[]naru.Instance](ctx, c, http.MethodGet, appPath(ae, "instances"), appQuery(ae), nil)
}

// Releases lists an app's releases, the newest first.
func (c *Client) Releases(ctx context.Context, ae naru.AppEnv) ([]naru.Release, error) {
	return call[[]naru.Release](ctx, c, http.MethodGet, appPath(ae, "releases"), appQuery(ae), nil)
}

// Config reads an app's newest config.
func (c *Client) Config(ctx context.Context, ae naru.AppEnv) (naru.Config, error) {
	return call[naru.Config](ctx, c, http.MethodGet, appPath(ae, "config"), appQuery(ae), nil)
}

// Rollout reads an app's newest rollout and its instances.
func (c *Client) Rollout(ctx context.Context, ae naru.AppEnv) (api.RolloutStatus, error) {
	return call[api.RolloutStatus](ctx, c, http.MethodGet, appPath(ae, "rollout"), appQuery(ae), nil)
}

// Up brings an app to what its spec says, and tells emit what happens.
func (c *Client) Up(ctx context.Context, ae naru.AppEnv, q api.UpRequest, emit func(delivery.Event)) error {
	return c.change(ctx, http.MethodPost, ae, "up", q, emit)
}

// ChangeConfig sets and removes variables.
func (c *Client) ChangeConfig(ctx context.Context, ae naru.AppEnv, q api.ConfigChange, emit func(delivery.Event)) error {
	return c.change(ctx, http.MethodPatch, ae, "config", q, emit)
}

// Scale changes numbers of instances.
func (c *Client) Scale(ctx context.Context, ae naru.AppEnv, q api.ScaleRequest, emit func(delivery.Event)) error {
	return c.change(ctx, http.MethodPost, ae, "scale", q, emit)
}

// Rollback rolls a copy of an earlier release out.
func (c *Client) Rollback(ctx context.Context, ae naru.AppEnv, q api.RollbackRequest, emit func(delivery.Event)) error {
	return c.change(ctx, http.MethodPost, ae, "rollback", q, emit)
}

// Down stops an app.
func (c *Client) Down(ctx context.Context, ae naru.AppEnv, q api.DownRequest, emit func(delivery.Event)) error {
	return c.change(ctx, http.MethodPost, ae, "down", q, emit)
}

// FollowRollout tells emit about an app's newest rollout until it has ended.
func (c *Client) FollowRollout(ctx context.Context, ae naru.AppEnv, emit func(delivery.Event)) error {
	return c.change(ctx, http.MethodGet, ae, "rollout/events", nil, emit)
}

// change asks for a change and passes its events on. An answer that ends without a last word is the daemon's death.
func (c *Client) change(ctx context.Context, method string, ae naru.AppEnv, verb string, q any, emit func(delivery.Event)) error {
	ended := false
	err := each(ctx, c, method, appPath(ae, verb), appQuery(ae), q, func(e api.Event) error {
		if e.Error != nil {
			return e.Error
		}
		ended = e.Done != nil
		emit(e.Event)
		return nil
	})
	if err == nil && !ended {
		return naru.Errorf(naru.Unavailable, "the naru daemon went away before it was done: what it had begun it finishes when it is back, see naru rollout status")
	}
	return err
}

// AppLogs calls f for the log entries of an app's instances.
func (c *Client) AppLogs(ctx context.Context, ae naru.AppEnv, o api.LogOptions, f func(api.LogEntry) error) error {
	q := logQuery(o)
	q.Set("environment", string(ae.Environment))
	return each(ctx, c, http.MethodGet, appPath(ae, "logs"), q, nil, entries(f))
}

// entries passes entries on and ends with the error that the last one may carry.
func entries(f func(api.LogEntry) error) func(api.LogEntry) error {
	return func(e api.LogEntry) error {
		if e.Error != nil {
			return e.Error
		}
		return f(e)
	}
}

func logQuery(o api.LogOptions) url.Values {
	q := url.Values{"follow": {strconv.FormatBool(o.Follow)}, "tail": {strconv.Itoa(o.Tail)}}
	if o.Service != "" {
		q.Set("service", string(o.Service))
	}
	for name, t := range map[string]time.Time{"since": o.Since, "until": o.Until} {
		if !t.IsZero() {
			q.Set(name, t.Format(time.RFC3339Nano))
		}
	}
	return q
}

func appPath(ae naru.AppEnv, verb string) string { return "/v1/apps/" + string(ae.App) + "/" + verb }

func appQuery(ae naru.AppEnv) url.Values {
	return url.Values{"environment": {string(ae.Environment)}}
}
