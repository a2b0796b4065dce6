package sandbox

import (
	"context"
	"net"
	"os"
	"slices"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"naru/engine/sandbox/program"
	"naru/naru"
)

// hook is an operation whose input can only be said when the container's pid is known.
type hook struct {
	op     int
	status specs.ContainerState
}

// lend adds the caller's gate to the descriptors, and writes the hooks' inputs: a pid as the container sees it.
func (p *plan) lend(cfg *Config, files []*os.File, pid int) ([]*os.File, error) {
	if newNamespace(cfg.Spec, specs.PIDNamespace) {
		pid = 1
	}
	for _, h := range p.hooks {
		state, err := cfg.OCI.HookState(pid, h.status)
		if err != nil {
			return nil, err
		}
		p.ops[h.op].Bytes = state
	}
	if cfg.OCI.Gate == nil {
		return files, nil
	}
	p.ops[p.gate].FD = len(files)
	return append(files[:len(files):len(files)], cfg.OCI.Gate), nil
}

// openNamespace opens a namespace by its path, and makes sure that it is one of its kind.
func openNamespace(ns specs.LinuxNamespace) (*os.File, error) {
	f, err := os.Open(ns.Path)
	if err != nil {
		return nil, naru.Errorf(naru.InvalidArgument, "spec field linux.namespaces: open the %s namespace: %w", ns.Type, err)
	}
	kind, err := unix.IoctlRetInt(int(f.Fd()), unix.NS_GET_NSTYPE)
	if err != nil || uintptr(kind) != cloneFlags()[ns.Type] {
		f.Close()
		return nil, naru.Errorf(naru.InvalidArgument, "spec field linux.namespaces: %s is no %s namespace", ns.Path, ns.Type)
	}
	return f, nil
}

// sharesMounts says whether the container's mount namespace is one that others have made, be it the runtime's own.
func sharesMounts(l *specs.Linux) bool {
	return !slices.Contains(l.Namespaces, specs.LinuxNamespace{Type: specs.MountNamespace})
}

// planPivot changes the root, with the stages of the OCI command around it.
func (p *plan) planPivot(cfg *Config) {
	if cfg.OCI.BeforePivot != nil {
		p.add(program.Op{Kind: program.Sync})
	}
	hooks := cfg.Spec.Hooks
	if hooks == nil {
		hooks = &specs.Hooks{}
	}
	p.planHooks(cfg, hooks.CreateContainer, specs.StateCreating)
	p.add(planLabels(cfg.Spec.Process)...)
	pivot := program.Op{Kind: program.Pivot}
	if sharesMounts(cfg.Spec.Linux) {
		pivot.Flags = program.InPlace
	}
	p.add(pivot)
	if spread := propagation(cfg.Spec.Linux.RootfsPropagation); spread&(unix.MS_SHARED|unix.MS_UNBINDABLE) != 0 {
		p.add(program.Op{Kind: program.Propagate, Path: "/", Flags: spread}) // private it is anyway, which a slave of nobody is too
	}
	p.add(program.Op{Kind: program.Await})
	if cfg.OCI.Gate != nil {
		process := cfg.Spec.Process
		p.add(program.Op{Kind: program.Find, List: process.Args, Env: process.Env, Path: process.Cwd})
		p.gate = len(p.ops)
		p.add(program.Op{Kind: program.Gate})
	}
	p.planHooks(cfg, hooks.StartContainer, specs.StateCreated)
}

func (p *plan) planHooks(cfg *Config, hooks []specs.Hook, status specs.ContainerState) {
	for _, h := range hooks {
		op := program.Op{Kind: program.Hook, Path: h.Path, List: h.Args, Env: h.Env}
		if len(op.List) == 0 {
			op.List = []string{h.Path}
		}
		if h.Timeout != nil {
			op.Flags = uint64(*h.Timeout)
		}
		p.hooks = append(p.hooks, hook{len(p.ops), status})
		p.add(op)
	}
}

// keepFiles lets the process have descriptors beyond its first three.
func keepFiles(process []program.Op, files []*os.File) []program.Op {
	if len(files) == 0 || len(process) == 0 {
		return process
	}
	return slices.Insert(process, len(process)-1, program.Op{Kind: program.Keep, Flags: uint64(len(files))})
}

// beforePivot waits for the init's Sync and lets it go on after act.
func (s *session) beforePivot(ctx context.Context, act func(context.Context, int) error) error {
	if act == nil {
		return nil
	}
	if err := s.await(program.MsgSync); err != nil {
		return err
	}
	if err := act(ctx, s.process.PID); err != nil {
		return err
	}
	return s.letGo()
}

// Release lets a container go on that was started with a Gate; conn is a connection to that. It returns when the
// program runs.
func Release(ctx context.Context, conn *net.UnixConn) error {
	s := &session{conn: conn}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) /* closed: it is over */ })
	defer stop()
	if err := s.explain(s.letGo()); err != nil {
		return err
	}
	return s.awaitExec()
}
