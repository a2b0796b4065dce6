package server

import (
	"context"
	"io"
	"net/http"

	"naru/api"
	"naru/naru"
)

// Volumes are the engine's.
type Volumes interface {
	List(ctx context.Context) ([]api.Volume, error)
	Get(ctx context.Context, name string) (api.Volume, error)
	Create(ctx context.Context, name string, limit naru.DiskLimit) (api.Volume, error)
	Remove(ctx context.Context, name string) error
	Export(ctx context.Context, name string, w io.Writer) error
	Import(ctx context.Context, name string, r io.Reader) error
	// Prune removes the volumes that no container uses and that belong to no app.
	Prune(ctx context.Context) ([]string, error)
}

func (s *Server) listVolumes(w http.ResponseWriter, r *http.Request) error {
	volumes, err := s.cfg.Volumes.List(r.Context())
	if err != nil {
		return err
	}
	return list(w, volumes)
}

func (s *Server) getVolume(w http.ResponseWriter, r *http.Request) error {
	v, err := s.cfg.Volumes.Get(r.Context(), r.PathValue("name"))
	if err != nil {
		return err
	}
	return reply(w, v)
}

func (s *Server) createVolume(w http.ResponseWriter, r *http.Request) error {
	q, err := decode[api.VolumeCreate](w, r)
	if err != nil {
		return err
	}
	v, err := s.cfg.Volumes.Create(r.Context(), q.Name, q.Limit)
	if err != nil {
		return err
	}
	return reply(w, v)
}

func (s *Server) removeVolume(w http.ResponseWriter, r *http.Request) error {
	if err := s.cfg.Volumes.Remove(r.Context(), r.PathValue("name")); err != nil {
		return err
	}
	return noContent(w)
}

func (s *Server) exportVolume(w http.ResponseWriter, r *http.Request) error {
	return sendTar(w, func(out io.Writer) error { return s.cfg.Volumes.Export(r.Context(), r.PathValue("name"), out) })
}

func (s *Server) importVolume(w http.ResponseWriter, r *http.Request) error {
	if err := wantsTar(r); err != nil {
		return err
	}
	if err := s.cfg.Volumes.Import(r.Context(), r.PathValue("name"), r.Body); err != nil {
		return err
	}
	return noContent(w)
}

func (s *Server) pruneVolumes(w http.ResponseWriter, r *http.Request) error {
	removed, err := s.cfg.Volumes.Prune(r.Context())
	if err != nil {
		return err
	}
	return reply(w, api.Removed{Volumes: removed})
}
