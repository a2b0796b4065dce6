package server

import (
	"context"
	"net/http"

	"naru/api"
	"naru/delivery"
	"naru/naru"
)

// Delivery changes apps: delivery.Delivery.
type Delivery interface {
	Up(ctx context.Context, up delivery.Up, emit func(delivery.Event)) error
	ChangeConfig(ctx context.Context, ae naru.AppEnv, set map[string]string, unset []string, detach bool, emit func(delivery.Event)) error
	Rollback(ctx context.Context, ae naru.AppEnv, to naru.ReleaseNumber, detach bool, emit func(delivery.Event)) error
	Scale(ctx context.Context, ae naru.AppEnv, instances map[naru.ServiceName]int, detach bool, emit func(delivery.Event)) error
	Down(ctx context.Context, ae naru.AppEnv, volumes, detach bool, emit func(delivery.Event)) error
	Follow(ctx context.Context, ae naru.AppEnv, emit func(delivery.Event)) error
}

func (s *Server) up(w http.ResponseWriter, r *http.Request) error {
	return change(w, r, func(ae naru.AppEnv, q api.UpRequest, emit func(delivery.Event)) error {
		up := delivery.Up{AppEnv: ae, Spec: q.Spec, Session: q.Session, Reason: q.Reason, Detach: q.Detach}
		if up.Reason == "" {
			up.Reason = "up"
		}
		return s.cfg.Delivery.Up(r.Context(), up, emit)
	})
}

func (s *Server) changeConfig(w http.ResponseWriter, r *http.Request) error {
	return change(w, r, func(ae naru.AppEnv, q api.ConfigChange, emit func(delivery.Event)) error {
		if len(q.Set)+len(q.Unset) == 0 {
			return naru.Errorf(naru.InvalidArgument, "nothing to set or unset")
		}
		return s.cfg.Delivery.ChangeConfig(r.Context(), ae, q.Set, q.Unset, q.Detach, emit)
	})
}

func (s *Server) rollback(w http.ResponseWriter, r *http.Request) error {
	return change(w, r, func(ae naru.AppEnv, q api.RollbackRequest, emit func(delivery.Event)) error {
		if q.To < 0 {
			return naru.Errorf(naru.InvalidArgument, "releases count from v1: there is no v%d", q.To)
		}
		return s.cfg.Delivery.Rollback(r.Context(), ae, q.To, q.Detach, emit)
	})
}

func (s *Server) scale(w http.ResponseWriter, r *http.Request) error {
	return change(w, r, func(ae naru.AppEnv, q api.ScaleRequest, emit func(delivery.Event)) error {
		if len(q.Services) == 0 {
			return naru.Errorf(naru.InvalidArgument, "no service to scale")
		}
		for name, n := range q.Services {
			if n < 0 {
				return naru.Errorf(naru.InvalidArgument, "%s=%d: a number of instances is 0 or more", name, n)
			}
		}
		return s.cfg.Delivery.Scale(r.Context(), ae, q.Services, q.Detach, emit)
	})
}

func (s *Server) down(w http.ResponseWriter, r *http.Request) error {
	return change(w, r, func(ae naru.AppEnv, q api.DownRequest, emit func(delivery.Event)) error {
		return s.cfg.Delivery.Down(r.Context(), ae, q.Volumes, q.Detach, emit)
	})
}

func (s *Server) followRollout(w http.ResponseWriter, r *http.Request) error {
	ae, err := appEnv(r)
	if err != nil {
		return err
	}
	return events(w, func(emit func(delivery.Event)) error { return s.cfg.Delivery.Follow(r.Context(), ae, emit) })
}

// change answers a request with the events of what it sets going.
func change[Q any](w http.ResponseWriter, r *http.Request, do func(naru.AppEnv, Q, func(delivery.Event)) error) error {
	ae, err := appEnv(r)
	if err != nil {
		return err
	}
	q, err := decode[Q](w, r)
	if err != nil {
		return err
	}
	return events(w, func(emit func(delivery.Event)) error { return do(ae, q, emit) })
}

// events answers with what do emits. An error before the first event is an answer with that error's status; a later
// one is the last line.
func events(w http.ResponseWriter, do func(emit func(delivery.Event)) error) error {
	var out *lines
	err := do(func(e delivery.Event) {
		if out == nil {
			out = newLines(w)
		}
		out.send(api.Event{Event: e})
	})
	if err != nil && out != nil {
		out.send(api.Event{Error: api.ToError(err)})
		return errAnswered
	}
	return err
}
