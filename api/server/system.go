package server

import (
	"context"
	"errors"
	"net/http"
	"time"

	"naru/api"
	"naru/naru"
)

// System is the machine's part of naru as a whole.
type System interface {
	// Events calls f with every change from now on, after those since a time, until ctx ends, f fails, or it is until. A
	// time that is zero is none.
	Events(ctx context.Context, since, until time.Time, f func(api.EngineEvent) error) error
	Fsck(ctx context.Context, repair bool) ([]api.Finding, error)
	DiskUsage(ctx context.Context) ([]api.DiskUse, error)
	// PruneCache forgets all results of builds, and gives the disk back what no image needs.
	PruneCache(ctx context.Context) (freed int64, err error)
}

func (s *Server) engineEvents(w http.ResponseWriter, r *http.Request) error {
	var times [2]time.Time
	for i, name := range []string{"since", "until"} {
		v := r.URL.Query().Get(name)
		if v == "" {
			continue
		}
		var err error
		if times[i], err = time.Parse(time.RFC3339Nano, v); err != nil {
			return naru.Errorf(naru.InvalidArgument, "%s=%q is not a time as RFC 3339 writes it", name, v)
		}
	}
	out := newLines(w)
	out.flush() // the headers: there may be no event for long
	err := s.cfg.System.Events(r.Context(), times[0], times[1], func(ev api.EngineEvent) error {
		out.send(ev)
		return r.Context().Err()
	})
	if errors.Is(err, context.Canceled) || err == nil {
		return errAnswered
	}
	return err
}

func (s *Server) fsck(w http.ResponseWriter, r *http.Request) error {
	repair, err := queryBool(r, "repair")
	if err != nil {
		return err
	}
	found, err := s.cfg.System.Fsck(r.Context(), repair)
	if err != nil {
		return err
	}
	if found == nil {
		found = []api.Finding{}
	}
	return reply(w, api.FsckReport{Found: found, Repaired: repair})
}

func (s *Server) diskUsage(w http.ResponseWriter, r *http.Request) error {
	use, err := s.cfg.System.DiskUsage(r.Context())
	if err != nil {
		return err
	}
	return list(w, use)
}

func (s *Server) pruneCache(w http.ResponseWriter, r *http.Request) error {
	freed, err := s.cfg.System.PruneCache(r.Context())
	if err != nil {
		return err
	}
	return reply(w, api.Removed{Freed: freed})
}
