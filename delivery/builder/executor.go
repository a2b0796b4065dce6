package builder

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"

	"github.com/containerd/containerd/v2/core/mount"
	buildkit "github.com/moby/buildkit/executor"
	resources "github.com/moby/buildkit/executor/resources/types"
	gateway "github.com/moby/buildkit/frontend/gateway/pb"
	"github.com/moby/buildkit/identity"
	"github.com/moby/buildkit/solver/pb"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"naru/engine/image"
	"naru/naru"
)

// executor runs BuildKit's processes by a StepRunner.
type executor struct {
	steps  StepRunner
	mounts string // folder for mounts that only the preparation of a step needs
}

// Run runs one RUN step to its end.
func (e *executor) Run(ctx context.Context, id string, root buildkit.Mount, mounts []buildkit.Mount, process buildkit.ProcessInfo, started chan<- struct{}) (resources.Recorder, error) {
	if started != nil {
		defer sync.OnceFunc(func() { close(started) })()
	}
	if id == "" {
		id = identity.NewID()
	}
	undo := &undoList{}
	defer undo.run()
	step, err := e.prepare(ctx, id, root, mounts, process, undo)
	if err != nil {
		return nil, fmt.Errorf("prepare step: %w", err)
	}
	status, err := e.steps.RunStep(ctx, step)
	if err != nil {
		return nil, fmt.Errorf("run step: %w", err)
	}
	if ok := process.Meta.ValidExitCodes; status == 0 && ok == nil || slices.Contains(ok, status) {
		return nil, nil
	}
	return nil, &gateway.ExitError{ExitCode: uint32(status), Err: context.Cause(ctx)}
}

// Exec would run another process in a step that runs; only interactive debuggers of builds ask for that.
func (e *executor) Exec(context.Context, string, buildkit.ProcessInfo) error {
	return naru.Errorf(naru.Unimplemented, "a process cannot be added to a running build step")
}

// prepare makes everything of the step that is on the host, with its undoing in undo.
func (e *executor) prepare(ctx context.Context, id string, root buildkit.Mount, mounts []buildkit.Mount, process buildkit.ProcessInfo, undo *undoList) (Step, error) {
	meta := process.Meta
	fs, err := rootfsOf(ctx, root, undo)
	if err != nil {
		return Step{}, err
	}
	extra, err := e.bindAll(ctx, mounts, undo)
	if err != nil {
		return Step{}, err
	}
	step := Step{
		ID: id, Rootfs: fs, ReadOnly: meta.ReadonlyRootFS || root.Readonly, Mounts: extra,
		Hostname: meta.Hostname, Hosts: hostsOf(meta.ExtraHosts), Network: meta.NetMode != pb.NetMode_NONE,
		Stdout: process.Stdout, Stderr: process.Stderr,
	}
	if process.Stdin != nil {
		step.Stdin = process.Stdin
	}
	err = e.withView(fs, func(dir string) error {
		undo.add(stubCleaner(dir, fs.Upper, mounts))
		step.Process, err = processOf(dir, meta)
		return err
	})
	return step, err
}

// rootfsOf reads the step's root file system as parts of an overlay: the runner mounts it, not BuildKit.
func rootfsOf(ctx context.Context, root buildkit.Mount, undo *undoList) (image.Rootfs, error) {
	ref, err := root.Src.Mount(ctx, false)
	if err != nil {
		return image.Rootfs{}, fmt.Errorf("find root file system: %w", err)
	}
	mounts, err := mountsOf(unshared(ref), undo)
	if err != nil {
		return image.Rootfs{}, fmt.Errorf("find root file system: %w", err)
	}
	return image.ParseOverlay(mounts)
}

// mountsOf asks BuildKit for the mounts of something mountable and leaves their release in undo.
func mountsOf(ref buildkit.MountableRef, undo *undoList) ([]mount.Mount, error) {
	mounts, release, err := ref.Mount()
	if err != nil {
		return nil, err
	}
	if release != nil {
		undo.add(release)
	}
	return mounts, nil
}

// processOf is the process as the image in dir understands it: users have numbers there.
func processOf(dir string, meta buildkit.Meta) (*specs.Process, error) {
	uid, gid, groups, err := lookUpUser(dir, meta.User)
	if err != nil {
		return nil, naru.Errorf(naru.InvalidArgument, "USER %s: %w", meta.User, err)
	}
	p := &specs.Process{
		Terminal: meta.Tty, Args: meta.Args, Env: meta.Env, Cwd: meta.Cwd,
		User: specs.User{UID: uid, GID: gid, AdditionalGids: groups},
	}
	for _, u := range meta.Ulimit {
		p.Rlimits = append(p.Rlimits, specs.POSIXRlimit{Type: "RLIMIT_" + upper(u.Name), Hard: uint64(u.Hard), Soft: uint64(u.Soft)})
	}
	return p, nil
}

func hostsOf(list []buildkit.HostIP) []Host {
	var hosts []Host
	for _, h := range list {
		if addr, ok := netip.AddrFromSlice(h.IP); ok {
			hosts = append(hosts, Host{Name: h.Host, Addr: addr.Unmap()})
		}
	}
	return hosts
}
