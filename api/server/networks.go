package server

import (
	"context"
	"net/http"

	"naru/api"
	"naru/engine/network"
)

// Networks are the engine's.
type Networks interface {
	List(ctx context.Context) ([]api.Network, error)
	Get(ctx context.Context, name string) (api.Network, error)
	Create(ctx context.Context, q api.NetworkCreate) (api.Network, error)
	Remove(ctx context.Context, name string) error
	Prune(ctx context.Context) (removed []string, err error)
	Connect(ctx context.Context, name string, q api.NetworkConnect) error
	Disconnect(ctx context.Context, name, container string) error
	// Path reads the ways to a container's port, or to all its ports with port zero.
	Path(ctx context.Context, container string, port uint16, protocol string) (api.NetworkPath, error)
}

func (s *Server) listNetworks(w http.ResponseWriter, r *http.Request) error {
	networks, err := s.cfg.Networks.List(r.Context())
	if err != nil {
		return err
	}
	return list(w, networks)
}

func (s *Server) getNetwork(w http.ResponseWriter, r *http.Request) error {
	n, err := s.cfg.Networks.Get(r.Context(), r.PathValue("name"))
	if err != nil {
		return err
	}
	return reply(w, n)
}

func (s *Server) createNetwork(w http.ResponseWriter, r *http.Request) error {
	q, err := decode[api.NetworkCreate](w, r)
	if err != nil {
		return err
	}
	n, err := s.cfg.Networks.Create(r.Context(), q)
	if err != nil {
		return err
	}
	return reply(w, n)
}

func (s *Server) removeNetwork(w http.ResponseWriter, r *http.Request) error {
	if err := s.cfg.Networks.Remove(r.Context(), r.PathValue("name")); err != nil {
		return err
	}
	return noContent(w)
}

func (s *Server) pruneNetworks(w http.ResponseWriter, r *http.Request) error {
	removed, err := s.cfg.Networks.Prune(r.Context())
	if err != nil {
		return err
	}
	return list(w, removed)
}

func (s *Server) connectNetwork(w http.ResponseWriter, r *http.Request) error {
	q, err := decode[api.NetworkConnect](w, r)
	if err != nil {
		return err
	}
	if err := s.cfg.Networks.Connect(r.Context(), r.PathValue("name"), q); err != nil {
		return err
	}
	return noContent(w)
}

func (s *Server) disconnectNetwork(w http.ResponseWriter, r *http.Request) error {
	q, err := decode[api.NetworkDisconnect](w, r)
	if err != nil {
		return err
	}
	if err := s.cfg.Networks.Disconnect(r.Context(), r.PathValue("name"), q.Container); err != nil {
		return err
	}
	return noContent(w)
}

// containerPath reads ?port=80 or ?port=53/udp; without, all ports are meant.
func (s *Server) containerPath(w http.ResponseWriter, r *http.Request) error {
	var port uint16
	var protocol string
	if v := r.URL.Query().Get("port"); v != "" {
		var err error
		if port, protocol, err = network.ParsePort(v); err != nil {
			return err
		}
	}
	path, err := s.cfg.Networks.Path(r.Context(), r.PathValue("id"), port, protocol)
	if err != nil {
		return err
	}
	return reply(w, path)
}
