package machine

import (
	"context"
	"errors"
	"fmt"

	"naru/engine"
	"naru/naru"
	"naru/target"
)

// containerSpec is the container that an instance of the set is.
func containerSpec(s target.Set) engine.ContainerSpec {
	svc := s.Service
	spec := engine.ContainerSpec{
		Image: string(svc.ImageDigest), Entrypoint: svc.Entrypoint, Command: svc.Command,
		Env: environment(s.Variables), User: svc.User, WorkingDir: svc.WorkingDir,
		Network: networkName(s.AppEnv), Tmpfs: svc.Tmpfs, ReadOnly: svc.ReadOnly, Init: svc.Init, Limits: svc.Limits,
		StopSignal: svc.StopSignal, StopGrace: svc.StopGrace, NoHealth: true, // the service says how it is asked, see probe.go
		Labels: map[string]string{labelApp: string(s.App), labelEnvironment: string(s.Environment), labelSet: string(s.Key)},
	}
	for _, v := range svc.Volumes {
		m := engine.Mount{HostPath: v.HostPath, Target: v.Target, ReadOnly: v.ReadOnly, Limit: v.Limit}
		if v.Volume != "" {
			m.Volume = Volume(s.AppEnv, v.Volume)
		}
		spec.Mounts = append(spec.Mounts, m)
	}
	return spec
}

// labelJob marks the container of a job, which belongs to no set.
const labelJob = "naru.job"

// RunJob runs a one-off process of a release's service beside its instances: same image, variables, volumes and
// network, another command, no traffic. It returns the exit status when the process has ended; when ctx ends first, the
// process is killed.
func (m *Machine) RunJob(ctx context.Context, s target.Set, job naru.JobSpec, streams engine.Streams) (code int, err error) {
	spec := containerSpec(s)
	if len(job.Command) > 0 {
		spec.Command = job.Command
	}
	spec.TTY, spec.OpenStdin = job.TTY, streams.Stdin != nil
	delete(spec.Labels, labelSet)
	spec.Labels[labelJob] = string(job.Service)
	c, err := m.engine.Create(ctx, spec)
	if err != nil {
		return 0, fmt.Errorf("run a job of %s: %w", job.Service, err)
	}
	defer func() { err = errors.Join(err, m.engine.Remove(context.WithoutCancel(ctx), c.ID, true)) }()
	if err := m.engine.Start(ctx, c.ID); err != nil {
		return 0, err
	}
	if err := m.engine.Attach(ctx, c.ID, streams); err != nil {
		return 0, fmt.Errorf("follow the job: %w", err)
	}
	c, err = m.engine.Wait(ctx, c.ID)
	return c.ExitCode, err
}

// RemoveVolumes deletes the named volumes of a set's service; it is for an app that goes down for good.
func (m *Machine) RemoveVolumes(ae naru.AppEnv, volumes []naru.VolumeName) error {
	var errs []error
	for _, v := range volumes {
		errs = append(errs, m.engine.RemoveVolume(Volume(ae, v)))
	}
	return errors.Join(errs...)
}
