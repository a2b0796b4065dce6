package server

import (
	"context"
	"iter"
	"net/http"
	"slices"
	"sync"

	"naru/api"
	"naru/naru"
)

// Logs reads what containers wrote.
type Logs interface {
	// Logs gives the entries of the container with this id or name in their order; with Follow it ends when the
	// container is gone or ctx ends.
	Logs(ctx context.Context, id string, o api.LogOptions) iter.Seq2[api.LogEntry, error]
}

func (s *Server) containerLogs(w http.ResponseWriter, r *http.Request) error {
	o, err := logOptions(r)
	if err != nil {
		return err
	}
	id := r.PathValue("id")
	if _, err := s.cfg.Containers.Get(r.Context(), id); err != nil {
		return err
	}
	return sendLogs(w, s.cfg.Logs.Logs(r.Context(), id, o))
}

func (s *Server) appLogs(w http.ResponseWriter, r *http.Request) error {
	ae, err := appEnv(r)
	if err != nil {
		return err
	}
	o, err := logOptions(r)
	if err != nil {
		return err
	}
	instances, err := s.cfg.Instances.Instances(r.Context(), ae)
	if err != nil {
		return err
	}
	if o.Follow {
		return s.followApp(w, r, ae, o)
	}
	var sources []iter.Seq2[api.LogEntry, error]
	for _, i := range ofService(instances, o.Service) {
		sources = append(sources, s.instanceLogs(r.Context(), i, o))
	}
	return sendLogs(w, mergeByTime(sources))
}

func ofService(instances []naru.Instance, name naru.ServiceName) []naru.Instance {
	return slices.DeleteFunc(slices.Clone(instances), func(i naru.Instance) bool {
		return name != "" && i.Service != name
	})
}

// instanceLogs are the container's, stamped with whose they are.
func (s *Server) instanceLogs(ctx context.Context, i naru.Instance, o api.LogOptions) iter.Seq2[api.LogEntry, error] {
	return func(yield func(api.LogEntry, error) bool) {
		for e, err := range s.cfg.Logs.Logs(ctx, string(i.ID), o) {
			if naru.CodeOf(err) == naru.NotFound {
				return // it was removed meanwhile
			}
			e.Service, e.Instance = i.Service, i.ID
			if !yield(e, err) {
				return
			}
		}
	}
}

func sendLogs(w http.ResponseWriter, entries iter.Seq2[api.LogEntry, error]) error {
	out := newLines(w)
	out.flush() // the headers: a container may be silent for long
	for e, err := range entries {
		if err != nil {
			out.send(api.LogEntry{Error: api.ToError(err)})
			return errAnswered
		}
		out.send(e)
	}
	return nil
}

// followApp sends the entries of every instance there is and of every one that will be, until the client goes away.
func (s *Server) followApp(w http.ResponseWriter, r *http.Request, ae naru.AppEnv, o api.LogOptions) error {
	out := newLines(w)
	out.flush() // the headers: an app may be silent for long
	changed, stop := s.cfg.Instances.Watch()
	defer stop()
	var following sync.WaitGroup
	defer following.Wait()
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	for known := map[naru.InstanceID]bool{}; ; o.Tail = -1 { // of what starts from now on, everything is new
		instances, err := s.cfg.Instances.Instances(ctx, ae)
		if err != nil {
			out.send(api.LogEntry{Error: api.ToError(err)})
			return errAnswered
		}
		for _, i := range ofService(instances, o.Service) {
			if !known[i.ID] {
				known[i.ID] = true
				following.Go(func() { s.follow(ctx, out, i, o) })
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return errAnswered
		}
	}
}

func (s *Server) follow(ctx context.Context, out *lines, i naru.Instance, o api.LogOptions) {
	for e, err := range s.instanceLogs(ctx, i, o) {
		if err != nil {
			if ctx.Err() == nil {
				s.cfg.Log.Warn("follow a log", "instance", i.ID, "err", err)
			}
			return
		}
		out.send(e)
	}
}
