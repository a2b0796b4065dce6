package server

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"naru/api"
	"naru/naru"
)

// Processes runs commands beside an app's or a container's own.
type Processes interface {
	// Exec runs another process in the container with this id or name, which an instance's id is as well.
	Exec(ctx context.Context, id string, q api.ExecRequest, st Streams) (int, error)
	// ExecDetached starts one that nobody is connected to.
	ExecDetached(ctx context.Context, id string, q api.ExecRequest) error
	// RunJob runs a one-off process of the app's current release and leaves nothing of it.
	RunJob(ctx context.Context, job naru.JobSpec, st Streams) (int, error)
}

func (s *Server) execInApp(w http.ResponseWriter, r *http.Request) error {
	ae, err := appEnv(r)
	if err != nil {
		return err
	}
	q, err := decode[api.ExecRequest](w, r)
	if err != nil {
		return err
	}
	instances, err := s.cfg.Instances.Instances(r.Context(), ae)
	if err != nil {
		return err
	}
	at, err := pick(instances, ae, q)
	if err != nil {
		return err
	}
	return s.exec(w, r, string(at), q)
}

// pick chooses the instance to exec in: the one whose id begins as said, else the readiest of the service.
func pick(instances []naru.Instance, ae naru.AppEnv, q api.ExecRequest) (naru.InstanceID, error) {
	wanted := slices.DeleteFunc(slices.Clone(instances), func(i naru.Instance) bool {
		return !runs(i.State) || q.Service != "" && i.Service != q.Service || !strings.HasPrefix(string(i.ID), string(q.Instance))
	})
	if len(wanted) == 0 && q.Instance != "" {
		return "", naru.Errorf(naru.NotFound, "%s has no running instance %q", ae, q.Instance)
	}
	if len(wanted) == 0 {
		return "", naru.Errorf(naru.NotFound, "%s has no running instance of a service %q: see naru ps", ae, q.Service)
	}
	if i := slices.IndexFunc(wanted, func(i naru.Instance) bool { return i.State == naru.InstanceReady }); i >= 0 {
		return wanted[i].ID, nil
	}
	return wanted[0].ID, nil
}

func runs(state naru.InstanceState) bool {
	return state == naru.InstanceReady || state == naru.InstanceRunning || state == naru.InstanceUnready
}

func (s *Server) execInContainer(w http.ResponseWriter, r *http.Request) error {
	q, err := decode[api.ExecRequest](w, r)
	if err != nil {
		return err
	}
	if _, err := s.cfg.Containers.Get(r.Context(), r.PathValue("id")); err != nil {
		return err
	}
	return s.exec(w, r, r.PathValue("id"), q)
}

func (s *Server) exec(w http.ResponseWriter, r *http.Request, id string, q api.ExecRequest) error {
	if len(q.Command) == 0 {
		return naru.Errorf(naru.InvalidArgument, "no command to execute")
	}
	if q.Detach {
		return s.cfg.Processes.ExecDetached(r.Context(), id, q)
	}
	return s.framed(w, r, console{stdin: q.Stdin, size: q.Size}, func(ctx context.Context, st Streams) (int, error) {
		return s.cfg.Processes.Exec(ctx, id, q, st)
	})
}

func (s *Server) runJob(w http.ResponseWriter, r *http.Request) error {
	ae, err := appEnv(r)
	if err != nil {
		return err
	}
	q, err := decode[api.RunRequest](w, r)
	if err != nil {
		return err
	}
	if err := q.Service.Validate(); err != nil {
		return err
	}
	job := naru.JobSpec{AppEnv: ae, Service: q.Service, Command: q.Command, TTY: q.TTY}
	return s.framed(w, r, console{stdin: q.Stdin, size: q.Size}, func(ctx context.Context, st Streams) (int, error) {
		return s.cfg.Processes.RunJob(ctx, job, st)
	})
}
