package server

import (
	"context"
	"net"
	"net/http"

	"naru/api"
)

// Sessions serves the builds' way back to the client's folder: delivery/builder.
type Sessions interface {
	// ServeSession speaks BuildKit's session protocol on the connection until one side ends it.
	ServeSession(ctx context.Context, conn net.Conn) error
}

func (s *Server) session(w http.ResponseWriter, r *http.Request) error {
	return s.upgrade(w, r, api.UpgradeSession, func(ctx context.Context, conn net.Conn) error {
		return s.cfg.Sessions.ServeSession(ctx, conn)
	})
}
