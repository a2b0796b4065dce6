package server

import (
	"context"
	"net/http"
	"time"

	"naru/api"
	"naru/naru"
)

// Lifecycle is what else can be done to the engine's containers.
type Lifecycle interface {
	Restart(ctx context.Context, idOrName string, grace time.Duration) error
	Pause(ctx context.Context, idOrName string) error
	Unpause(ctx context.Context, idOrName string) error
	Rename(ctx context.Context, idOrName, name string) error
	Update(ctx context.Context, idOrName string, u api.ContainerUpdate) error
	// Wait returns the container at its end.
	Wait(ctx context.Context, idOrName string) (api.Container, error)
	// Attach joins st to a running container, from what it writes next, and returns its exit status.
	Attach(ctx context.Context, idOrName string, st Streams) (int, error)
	// Usage reads what a running container uses.
	Usage(ctx context.Context, idOrName string) (api.Usage, error)
	Top(ctx context.Context, idOrName string) ([]api.Process, error)
}

func (s *Server) createContainer(w http.ResponseWriter, r *http.Request) error {
	spec, err := decode[api.ContainerSpec](w, r)
	if err != nil {
		return err
	}
	c, err := s.cfg.Containers.Create(r.Context(), spec)
	if err != nil {
		return err
	}
	return reply(w, c)
}

// startContainer starts a container; upgraded to frames, it stays with it until its end.
func (s *Server) startContainer(w http.ResponseWriter, r *http.Request) error {
	if !wantsUpgrade(r, api.UpgradeFrames) {
		return s.act(w, r, s.cfg.Containers.Start)
	}
	return s.joined(w, r, s.cfg.Containers.RunAttached)
}

func (s *Server) attachContainer(w http.ResponseWriter, r *http.Request) error {
	return s.joined(w, r, s.cfg.Lifecycle.Attach)
}

// joined joins the client's streams to a container.
func (s *Server) joined(w http.ResponseWriter, r *http.Request, run func(context.Context, string, Streams) (int, error)) error {
	q, err := decode[api.AttachRequest](w, r)
	if err != nil {
		return err
	}
	c, err := s.cfg.Containers.Get(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	t := console{stdin: q.Stdin, size: q.Size, signal: s.signaller(c)}
	return s.framed(w, r, t, func(ctx context.Context, st Streams) (int, error) { return run(ctx, c.ID, st) })
}

// act does something to the container that the path names.
func (s *Server) act(w http.ResponseWriter, r *http.Request, do func(context.Context, string) error) error {
	if err := do(r.Context(), r.PathValue("id")); err != nil {
		return err
	}
	return noContent(w)
}

func (s *Server) restartContainer(w http.ResponseWriter, r *http.Request) error {
	grace, err := queryGrace(r)
	if err != nil {
		return err
	}
	return s.act(w, r, func(ctx context.Context, id string) error { return s.cfg.Lifecycle.Restart(ctx, id, grace) })
}

func (s *Server) killContainer(w http.ResponseWriter, r *http.Request) error {
	signal := r.URL.Query().Get("signal")
	if signal == "" {
		signal = "KILL"
	}
	return s.act(w, r, func(ctx context.Context, id string) error { return s.cfg.Containers.Kill(ctx, id, signal) })
}

func (s *Server) pauseContainer(w http.ResponseWriter, r *http.Request) error {
	return s.act(w, r, s.cfg.Lifecycle.Pause)
}

func (s *Server) unpauseContainer(w http.ResponseWriter, r *http.Request) error {
	return s.act(w, r, s.cfg.Lifecycle.Unpause)
}

func (s *Server) renameContainer(w http.ResponseWriter, r *http.Request) error {
	name := r.URL.Query().Get("name")
	return s.act(w, r, func(ctx context.Context, id string) error { return s.cfg.Lifecycle.Rename(ctx, id, name) })
}

func (s *Server) updateContainer(w http.ResponseWriter, r *http.Request) error {
	u, err := decode[api.ContainerUpdate](w, r)
	if err != nil {
		return err
	}
	return s.act(w, r, func(ctx context.Context, id string) error { return s.cfg.Lifecycle.Update(ctx, id, u) })
}

func (s *Server) waitContainer(w http.ResponseWriter, r *http.Request) error {
	c, err := s.cfg.Lifecycle.Wait(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	return reply(w, c)
}

func (s *Server) containerUsage(w http.ResponseWriter, r *http.Request) error {
	u, err := s.cfg.Lifecycle.Usage(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	return reply(w, u)
}

func (s *Server) containerTop(w http.ResponseWriter, r *http.Request) error {
	processes, err := s.cfg.Lifecycle.Top(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	return list(w, processes)
}

// pruneContainers removes every container that has ended, and says which.
func (s *Server) pruneContainers(w http.ResponseWriter, r *http.Request) error {
	containers, err := s.cfg.Containers.List(r.Context())
	if err != nil {
		return err
	}
	wanted, err := parseFilters(r.URL.Query()["filter"])
	if err != nil {
		return err
	}
	var removed api.Removed
	for _, c := range containers {
		if (c.State != "exited" && c.State != "created") || !wanted.match(c) || s.isInstance(c) {
			continue
		}
		switch err := s.cfg.Containers.Remove(r.Context(), c.ID, false); naru.CodeOf(err) {
		case naru.NotFound, naru.FailedPrecondition: // it went, or was started, meanwhile
		default:
			if err != nil {
				return err
			}
			removed.Containers = append(removed.Containers, c.ID)
		}
	}
	return reply(w, removed)
}

// isInstance reports whether the container belongs to an app, whose target keeps and removes it.
func (s *Server) isInstance(c api.Container) bool {
	_, ok := c.Labels[api.LabelApp]
	return ok
}
