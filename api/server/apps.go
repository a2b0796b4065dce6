package server

import (
	"context"
	"net/http"

	"naru/api"
	"naru/naru"
)

// Apps reads what is known of apps.
type Apps interface {
	Apps(ctx context.Context) ([]api.App, error)
	Config(ctx context.Context, ae naru.AppEnv) (naru.Config, error)      // the newest
	Releases(ctx context.Context, ae naru.AppEnv) ([]naru.Release, error) // newest first
	Rollout(ctx context.Context, ae naru.AppEnv) (naru.Rollout, error)    // the newest; NotFound when there never was one
}

// Instances reads what runs.
type Instances interface {
	// Instances lists the instances of an app, sorted by service and start; NotFound for an app never deployed.
	Instances(ctx context.Context, ae naru.AppEnv) ([]naru.Instance, error)
	// Watch returns a channel that gets a value when Instances may say something new, and the function that ends it.
	Watch() (<-chan struct{}, func())
}

func (s *Server) listApps(w http.ResponseWriter, r *http.Request) error {
	apps, err := s.cfg.Apps.Apps(r.Context())
	if err != nil {
		return err
	}
	return list(w, apps)
}

func (s *Server) getConfig(w http.ResponseWriter, r *http.Request) error {
	ae, err := appEnv(r)
	if err != nil {
		return err
	}
	config, err := s.cfg.Apps.Config(r.Context(), ae)
	if err != nil {
		return err
	}
	return reply(w, config)
}

func (s *Server) listReleases(w http.ResponseWriter, r *http.Request) error {
	ae, err := appEnv(r)
	if err != nil {
		return err
	}
	releases, err := s.cfg.Apps.Releases(r.Context(), ae)
	if err != nil {
		return err
	}
	return list(w, releases)
}

func (s *Server) getRollout(w http.ResponseWriter, r *http.Request) error {
	ae, err := appEnv(r)
	if err != nil {
		return err
	}
	rollout, err := s.cfg.Apps.Rollout(r.Context(), ae)
	if err != nil {
		return err
	}
	instances, err := s.cfg.Instances.Instances(r.Context(), ae)
	if err != nil {
		return err
	}
	return reply(w, api.RolloutStatus{Rollout: rollout, Instances: instances})
}

func (s *Server) listInstances(w http.ResponseWriter, r *http.Request) error {
	ae, err := appEnv(r)
	if err != nil {
		return err
	}
	instances, err := s.cfg.Instances.Instances(r.Context(), ae)
	if err != nil {
		return err
	}
	return list(w, instances)
}
