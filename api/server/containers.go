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
	// RunAttached starts a container that was created, with its streams joined to st, and returns its exit status. With
	// remove it removes the container at its end, also when that comes after the client has left.
	RunAttached(ctx context.Context, id string, remove bool, st Streams) (int, error)
	Stop(ctx context.Context, idOrName string, grace time.Duration) error
	Kill(ctx context.Context, idOrName, signal string) error
	Remove(ctx context.Context, idOrName string, force bool) error
}

func (s *Server) listContainers(w http.ResponseWriter, r *http.Request) error {
	all, err := queryBool(r, "all")
	if err != nil {
		return err
	}
	containers, err := s.cfg.Containers.List(r.Context())
	if err != nil {
		return err
	}
	shown := []api.Container{}
	for _, c := range containers {
		if all || c.State == "running" {
			shown = append(shown, c)
		}
	}
	return list(w, shown)
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
	attached, remove := wantsUpgrade(r, api.UpgradeFrames), q.Spec.AutoRemove
	if attached {
		q.Spec.AutoRemove = false // at its exit, its last output would still be on the way to the client
	}
	c, err := s.cfg.Containers.Create(r.Context(), q.Spec)
	if err != nil {
		return err
	}
	if !attached {
		return s.runDetached(w, r, c)
	}
	signal := func(name string) {
		if err := s.cfg.Containers.Kill(s.life, c.ID, name); err != nil {
			s.cfg.Log.Debug("pass a signal on", "container", c.Name, "signal", name, "err", err)
		}
	}
	t := console{stdin: q.Spec.OpenStdin, size: q.Size, signal: signal}
	return s.framed(w, r, t, func(ctx context.Context, st Streams) (int, error) {
		return s.cfg.Containers.RunAttached(ctx, c.ID, remove, st)
	})
}

func (s *Server) runDetached(w http.ResponseWriter, r *http.Request, c api.Container) error {
	if err := s.cfg.Containers.Start(r.Context(), c.ID); err != nil {
		return s.failedStart(r.Context(), c, err)
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

// failedStart removes what a start that failed left of a container with AutoRemove, whose end will never come.
func (s *Server) failedStart(ctx context.Context, c api.Container, cause error) error {
	if !c.Spec.AutoRemove {
		return cause
	}
	err := s.cfg.Containers.Remove(context.WithoutCancel(ctx), c.ID, true)
	if err != nil && naru.CodeOf(err) != naru.NotFound {
		s.cfg.Log.Warn("remove a container that did not start", "container", c.Name, "err", err)
	}
	return cause
}

func (s *Server) stopContainer(w http.ResponseWriter, r *http.Request) error {
	var grace time.Duration
	if v := r.URL.Query().Get("grace"); v != "" {
		var err error
		if grace, err = time.ParseDuration(v); err != nil || grace < 0 {
			return naru.Errorf(naru.InvalidArgument, "grace=%q is not a duration like 5s", v)
		}
	}
	if err := s.cfg.Containers.Stop(r.Context(), r.PathValue("id"), grace); err != nil {
		return err
	}
	return noContent(w)
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
