package server

import (
	"context"
	"net/http"
	"time"

	"naru/api"
	"naru/naru"
)

// Containers are the engine's.
type Containers interface {
	List(ctx context.Context) ([]api.Container, error)
	Get(ctx context.Context, idOrName string) (api.Container, error)
	Create(ctx context.Context, spec api.ContainerSpec) (api.Container, error)
	Start(ctx context.Context, idOrName string) error
	// RunAttached starts a container with its streams joined to st, and returns its exit status. When ctx ends first, the
	// container runs on.
	RunAttached(ctx context.Context, idOrName string, st Streams) (int, error)
	// Stop gives the container its own grace when that is zero, and none when it is negative.
	Stop(ctx context.Context, idOrName string, grace time.Duration) error
	Kill(ctx context.Context, idOrName, signal string) error
	Remove(ctx context.Context, idOrName string, force bool) error
}

func (s *Server) listContainers(w http.ResponseWriter, r *http.Request) error {
	all, err := queryBool(r, "all")
	if err != nil {
		return err
	}
	wanted, err := parseFilters(r.URL.Query()["filter"])
	if err != nil {
		return err
	}
	containers, err := s.cfg.Containers.List(r.Context())
	if err != nil {
		return err
	}
	all = all || wanted.asksForState()
	shown := []api.ContainerSummary{}
	for _, c := range containers {
		if (all || isUp(c.State)) && wanted.match(c) {
			shown = append(shown, summary(c))
		}
	}
	return list(w, shown)
}

// summary leaves out what the container has answered to its health check: the answers are the longest part of it.
func summary(c api.Container) api.ContainerSummary {
	if c.Health != nil {
		c.Health = &api.Health{Status: c.Health.Status, Failing: c.Health.Failing}
	}
	return c.ContainerSummary
}

// isUp reports whether a list shows the container without being asked for all.
func isUp(state string) bool {
	return state == "running" || state == "paused" || state == "restarting"
}

func (s *Server) getContainer(w http.ResponseWriter, r *http.Request) error {
	c, err := s.cfg.Containers.Get(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	return reply(w, c)
}

// runContainer creates before it upgrades, so that a wrong name or image is a plain answer.
func (s *Server) runContainer(w http.ResponseWriter, r *http.Request) error {
	q, err := decode[api.ContainerRun](w, r)
	if err != nil {
		return err
	}
	c, err := s.cfg.Containers.Create(r.Context(), q.Spec)
	if err != nil {
		return err
	}
	if !wantsUpgrade(r, api.UpgradeFrames) {
		return s.runDetached(w, r, c)
	}
	t := console{stdin: q.Spec.OpenStdin, size: q.Size, signal: s.signaller(c)}
	return s.framed(w, r, t, func(ctx context.Context, st Streams) (int, error) {
		return s.cfg.Containers.RunAttached(ctx, c.ID, st)
	})
}

// signaller passes a client's signals on to a container.
func (s *Server) signaller(c api.Container) func(name string) {
	return func(name string) {
		if err := s.cfg.Containers.Kill(s.life, c.ID, name); err != nil {
			s.cfg.Log.Debug("pass a signal on", "container", c.Name, "signal", name, "err", err)
		}
	}
}

func (s *Server) runDetached(w http.ResponseWriter, r *http.Request, c api.Container) error {
	if err := s.cfg.Containers.Start(r.Context(), c.ID); err != nil {
		return err
	}
	started, err := s.cfg.Containers.Get(r.Context(), c.ID)
	if naru.CodeOf(err) == naru.NotFound { // it ended already and was to be removed
		started, err = c, nil
	}
	if err != nil {
		return err
	}
	return reply(w, started)
}

func (s *Server) stopContainer(w http.ResponseWriter, r *http.Request) error {
	grace, err := queryGrace(r)
	if err != nil {
		return err
	}
	if err := s.cfg.Containers.Stop(r.Context(), r.PathValue("id"), grace); err != nil {
		return err
	}
	return noContent(w)
}

// queryGrace reads ?grace=: none is the container's own, which the engine knows as zero; 0s is none at all.
func queryGrace(r *http.Request) (time.Duration, error) {
	v := r.URL.Query().Get("grace")
	if v == "" {
		return 0, nil
	}
	grace, err := time.ParseDuration(v)
	if err != nil || grace < 0 {
		return 0, naru.Errorf(naru.InvalidArgument, "grace=%q is not a duration like 5s", v)
	}
	if grace == 0 {
		return -1, nil
	}
	return grace, nil
}

func (s *Server) removeContainer(w http.ResponseWriter, r *http.Request) error {
	force, err := queryBool(r, "force")
	if err != nil {
		return err
	}
	if err := s.cfg.Containers.Remove(r.Context(), r.PathValue("id"), force); err != nil {
		return err
	}
	return noContent(w)
}

func noContent(w http.ResponseWriter) error {
	w.WriteHeader(http.StatusNoContent)
	return nil
}
