package engine

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"naru/engine/image"
	"naru/engine/keeper"
	"naru/engine/network"
	"naru/engine/sandbox"
	"naru/engine/sandbox/fork"
)

// Step is a process that runs to its end on a root filesystem which somebody else keeps: a step of a build. It is no
// container: it has no row, and a daemon that finds its process after a crash ends it.
type Step struct {
	ID       string
	Rootfs   image.Rootfs // with no Lower, Upper is a plain folder
	ReadOnly bool
	Mounts   []specs.Mount
	Process  *specs.Process // Args, Env, Cwd, User and Rlimits; the rest is as for every container
	Hostname string
	Hosts    string // more lines for /etc/hosts
	Network  bool   // false: loopback only
	Streams  Streams
}

// stepHold is what a running step occupies.
type stepHold struct {
	addr netip.Addr
	base uint32
}

// RunStep runs a step and returns its exit status. When ctx ends, the step is killed.
func (e *Engine) RunStep(ctx context.Context, step Step) (status int, err error) {
	id := "step-" + step.ID
	hold, n, err := e.holdStep(ctx, id, step.Network)
	if err != nil {
		return 0, err
	}
	defer e.releaseStep(id)
	dir := filepath.Join(e.cfg.DataDir, "steps", step.ID)
	if err := writeStepEtc(dir, step, hold.addr, n.Gateway); err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	pipes, err := newPlumbing(step.Streams, false)
	if err != nil {
		return 0, err
	}
	defer pipes.close()
	cfg, err := e.stepConfig(step, id, dir, hold)
	if err != nil {
		return 0, err
	}
	cfg.Files = pipes.theirs
	if hold.addr.IsValid() {
		if err := e.bringNetwork(ctx, n); err != nil {
			return 0, err
		}
		cfg.Attach = func(ctx context.Context, netns *os.File) error {
			return e.net.Attach(ctx, n, network.Endpoint{ID: id, Addr: hold.addr, NetNS: netns})
		}
	}
	defer func() { err = errors.Join(err, e.cleanKernel(context.WithoutCancel(ctx), id)) }()
	box, err := sandbox.Start(ctx, cfg, spawnFunc(func(ctx context.Context, _ string, cmd fork.Cmd) (fork.Process, error) {
		return e.cfg.Keeper.Spawn(ctx, id, cmd, keeper.Output{})
	}))
	if err != nil {
		return 0, errors.Join(fmt.Errorf("run a build step: %w", err), e.forgetChild(context.WithoutCancel(ctx), id))
	}
	defer closeAll(box.PidFD)
	pipes.connect(ctx, step.Streams, nil)
	return e.finishExec(ctx, id, box, pipes)
}

// holdStep takes a range of ids and, with a network, an address for the step.
func (e *Engine) holdStep(ctx context.Context, id string, withNetwork bool) (hold stepHold, n network.Network, err error) {
	if withNetwork {
		if n, err = e.EnsureNetwork(ctx, DefaultNetwork); err != nil {
			return hold, n, err
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if hold.base, err = pickIDBase(id, e.baseTaken()); err != nil {
		return hold, n, err
	}
	if withNetwork {
		if hold.addr, err = network.AllocateAddr(n, e.addrTaken("")); err != nil {
			return hold, n, fmt.Errorf("find an address for a build step: %w", err)
		}
	}
	e.steps[id] = hold
	return hold, n, nil
}

func (e *Engine) releaseStep(id string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.steps, id)
}

func writeStepEtc(dir string, step Step, addr, nameserver netip.Addr) error {
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return fmt.Errorf("make the step's folder: %w", err)
	}
	c := Container{ID: strings.Repeat("0", 12), Addr: addr, Spec: ContainerSpec{Hostname: firstOf(step.Hostname, "build")}}
	if err := writeEtc(dir, c, nameserver); err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(dir, "hosts"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("add the step's hosts: %w", err)
	}
	_, err = f.WriteString(step.Hosts)
	return errors.Join(err, f.Close())
}

func (e *Engine) stepConfig(step Step, id, dir string, hold stepHold) (sandbox.Config, error) {
	ids := e.idMapsAt(hold.base)
	s, err := sandbox.DefaultSpec(sandbox.Defaults{
		Args: step.Process.Args, Env: step.Process.Env, Cwd: step.Process.Cwd, User: step.Process.User,
		Hostname: firstOf(step.Hostname, "build"), ReadOnly: step.ReadOnly, UIDMap: ids.uids, GIDMap: ids.gids,
	})
	if err != nil {
		return sandbox.Config{}, err
	}
	s.Process.Rlimits = step.Process.Rlimits
	s.Linux.CgroupsPath = e.cgroup(id)
	s.Mounts = append(s.Mounts, etcMounts(dir, ids)...)
	for _, m := range step.Mounts {
		if m.Type == "bind" && !isOverlay(m.Source) {
			m.UIDMappings, m.GIDMappings = ids.uids, ids.gids
		}
		s.Mounts = append(s.Mounts, m)
	}
	root := sandboxRootfs(step.Rootfs)
	if len(step.Rootfs.Lower) == 0 {
		root = sandbox.Rootfs{Path: step.Rootfs.Upper}
	}
	return sandbox.Config{ID: id, Spec: s, Rootfs: root, CgroupPath: s.Linux.CgroupsPath, Filters: e.filters}, nil
}

// isOverlay reports whether a folder is shown by an overlay, whose ids the kernel cannot map: a stage of several layers
// that a step looks into. Its files are nobody's there, and readable as their modes say.
func isOverlay(path string) bool {
	var fs unix.Statfs_t
	return unix.Statfs(path, &fs) == nil && fs.Type == unix.OVERLAYFS_SUPER_MAGIC
}
