// Package sandbox starts a process in a container of its own. It receives an OCI runtime-spec Spec and a root made of
// layers, plans a flat program from them, and has an init execute it in new namespaces, which is the process itself before
// its exec (package bare) or a small program (package inside), while it does the host's part: cgroups, idmapped mounts, the
// network's turn. It hands on a running process, and forgets it: who waits for it, and what its end means, is the engine's.
package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"naru/engine/sandbox/fork"
	"naru/engine/sandbox/program"
)

// Config is a container to start.
type Config struct {
	ID     string
	Spec   *specs.Spec // what sandbox cannot do yet is an error that names the field
	Rootfs Rootfs
	// CgroupPath is the container's cgroup in every hierarchy, like "/naru-ab12/ID"; "" leaves it in the spawner's.
	CgroupPath string
	// Files become the process's 0, 1 and 2; nil ones are the spawner's business (log pipes) or /dev/null.
	Files   [3]*os.File
	Console bool // the process gets a terminal; its master is returned. Also asked for by Spec.Process.Terminal
	Init    bool // a reaper is process 1
	MakeCwd bool // a working directory that is missing is made, root's, as Docker does for -w
	// Filters remembers compiled seccomp policies between starts; nil compiles each time.
	Filters *Filters
	// Beside is the pidfd of a process whose namespaces are entered for those that the spec names by a path; nil opens the
	// paths.
	Beside *os.File
	// Attach connects the network, while the init waits; nil leaves it as it is.
	Attach func(ctx context.Context, netns *os.File) error
	// OCI is what only the OCI command needs.
	OCI OCI
}

// OCI splits a start in two, and tells of its stages, as the OCI runtime-spec has it.
type OCI struct {
	// Gate is a listening socket at which the init waits for Release, once all but its program is in place: Start
	// returns then.
	Gate *os.File
	// Born is told the init's pid before it may execute: what is written down then is there when the program runs.
	Born func(pid int) error
	// BeforePivot is called when everything but the new root is in place.
	BeforePivot func(ctx context.Context, pid int) error
	// HookState makes what the hooks read that run inside; nil refuses a spec with hooks.
	HookState func(pid int, status specs.ContainerState) ([]byte, error)
	// NotifyState makes what the listener of a seccomp policy reads with its descriptor; nil refuses such a policy.
	NotifyState func(pid int) ([]byte, error)
	// Keep are the process's descriptors from 3 on.
	Keep []*os.File
	// KeepKeyring leaves the process in the session keyring of who starts it.
	KeepKeyring bool
}

// Rootfs is a container's root: an overlay of Lower under Upper, or a folder that is used as it is.
type Rootfs struct {
	Lower       []string // top first
	Upper, Work string   // beside each other in one folder; none: the root is read-only
	Path        string
	// Owned says that the files of Path belong to the container's ids on the host already; else they are mapped.
	Owned bool
}

// Spawner forks processes and keeps them: the keeper, or Local. Exe is nil in cmd: the spawner has the init's binary.
type Spawner interface {
	Spawn(ctx context.Context, id string, cmd fork.Cmd) (fork.Process, error)
}

// Sandbox is a started process.
type Sandbox struct {
	PID     int
	PidFD   *os.File
	Console *os.File // the terminal's master, or nil
}

// Close lets go of the descriptors; the process runs on.
func (s *Sandbox) Close() error {
	err := s.PidFD.Close()
	if s.Console != nil {
		err = errors.Join(err, s.Console.Close())
	}
	return err
}

// Start starts a container and returns when its program runs. When it fails it leaves no process, cgroup or mount;
// a spawner that keeps exit statuses still has the init's.
func Start(ctx context.Context, cfg Config, sp Spawner) (_ *Sandbox, err error) {
	if err := validate(cfg.Spec); err != nil {
		return nil, err
	}
	group, err := newCgroup(cfg.CgroupPath, cfg.Spec.Linux)
	if err != nil {
		return nil, err
	}
	if err := checkHost(cfg.Spec, group); err != nil {
		return nil, err
	}
	p, err := planContainer(&cfg, group.facts())
	if err != nil {
		return nil, err
	}
	if err := group.begin(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, group.clear(context.WithoutCancel(ctx)))
		}
	}()
	cmd, release, err := containerCmd(&cfg, group)
	if err != nil {
		return nil, err
	}
	defer release()
	cmd.Bare = bareFits(p.ops, p.tasks+len(p.sources))
	var completing errgroup.Group // while the process is born: both are the kernel's work
	completing.Go(group.complete)
	s, err := spawn(ctx, sp, cfg.ID, cmd, cfg.Files, cfg.OCI.Keep)
	completed := completing.Wait()
	if err != nil {
		return nil, errors.Join(err, completed)
	}
	defer s.close()
	return s.finish(ctx, func() error {
		if completed != nil {
			return completed
		}
		return s.setUp(ctx, &cfg, p, group)
	})
}

// checkHost refuses what this machine does not have.
func checkHost(s *specs.Spec, group *cgroup) error {
	if err := checkLabels(s.Process, s.Linux); err != nil {
		return err
	}
	if err := checkClocks(s); err != nil {
		return err
	}
	return group.checkControllers(s.Linux.Resources)
}

// setUp does the host's part for a new container whose init waits for its program.
func (s *session) setUp(ctx context.Context, cfg *Config, p *plan, group *cgroup) error {
	if p.idmaps.any() && !newNamespace(cfg.Spec, specs.UserNamespace) {
		if err := p.idmaps.read(s.process.PID); err != nil {
			return err
		}
	}
	files, err := group.tasks()
	if err != nil {
		return err
	}
	defer func() { closeAll(files) }()
	sources, err := p.open(s.process.PID)
	if err != nil {
		return err
	}
	files = append(files, sources...)
	if files, err = lendAgent(p.ops, files, cfg.OCI.NotifyState, s.process.PID); err != nil {
		return err
	}
	all, err := p.lend(cfg, files, s.process.PID)
	if err != nil {
		return err
	}
	if err := s.prepareProcess(cfg.Spec.Process, p.idmaps); err != nil {
		return err
	}
	if err := s.send(all, p.ops); err != nil {
		return err
	}
	if err := s.beforePivot(ctx, cfg.OCI.BeforePivot); err != nil {
		return err
	}
	if cfg.OCI.Born != nil {
		if err := cfg.OCI.Born(s.process.PID); err != nil {
			return err
		}
	}
	if cfg.Attach == nil {
		return s.letGo()
	}
	netns, err := os.Open(procPath(s.process.PID, "ns/net"))
	if err != nil {
		return fmt.Errorf("open the network namespace: %w", err)
	}
	defer netns.Close()
	if err := cfg.Attach(ctx, netns); err != nil {
		return fmt.Errorf("attach the network: %w", err)
	}
	return s.letGo()
}

// containerCmd is the init in new namespaces. release closes what the command borrowed.
func containerCmd(cfg *Config, group *cgroup) (cmd fork.Cmd, release func(), err error) {
	linux := cfg.Spec.Linux
	cmd = initCmd()
	if newNamespace(cfg.Spec, specs.UserNamespace) {
		cmd.UIDMap, cmd.GIDMap = forkMaps(linux.UIDMappings), forkMaps(linux.GIDMappings)
	}
	var open []*os.File
	release = func() { closeAll(open) }
	defer func() {
		if err != nil {
			release()
		}
	}()
	for _, ns := range linux.Namespaces {
		flag := cloneFlags()[ns.Type]
		if ns.Path == "" {
			cmd.Namespaces |= flag &^ unix.CLONE_NEWTIME // see planClocks
			if len(group.v1()) > 0 {
				cmd.Namespaces &^= unix.CLONE_NEWCGROUP // see planEntry
			}
			continue
		}
		if cfg.Beside != nil {
			cmd.Joins = joinBeside(cmd.Joins, cfg.Beside, flag)
			continue
		}
		file, err := openNamespace(ns)
		if err != nil {
			return cmd, release, err
		}
		cmd.Joins = append(cmd.Joins, fork.Join{File: file, Flags: flag})
		open = append(open, file)
	}
	if err := group.join(&cmd); err != nil {
		return cmd, release, err
	}
	open = append(open, group.open...)
	return cmd, release, nil
}

// joinBeside adds a namespace to those that are entered with one pidfd, all in one step.
func joinBeside(joins []fork.Join, pidfd *os.File, flag uintptr) []fork.Join {
	if len(joins) == 0 {
		return []fork.Join{{File: pidfd, Flags: flag}}
	}
	joins[0].Flags |= flag
	return joins
}

// initCmd is the init's command line. One thread is enough for it, and nothing that it makes is worth collecting.
func initCmd() fork.Cmd {
	return fork.Cmd{Args: []string{program.InitName}, Env: []string{"GOMAXPROCS=1", "GOGC=off"}, Setsid: true}
}

func cloneFlags() map[specs.LinuxNamespaceType]uintptr {
	return map[specs.LinuxNamespaceType]uintptr{
		specs.PIDNamespace:     unix.CLONE_NEWPID,
		specs.NetworkNamespace: unix.CLONE_NEWNET,
		specs.MountNamespace:   unix.CLONE_NEWNS,
		specs.IPCNamespace:     unix.CLONE_NEWIPC,
		specs.UTSNamespace:     unix.CLONE_NEWUTS,
		specs.UserNamespace:    unix.CLONE_NEWUSER,
		specs.CgroupNamespace:  unix.CLONE_NEWCGROUP,
		specs.TimeNamespace:    unix.CLONE_NEWTIME,
	}
}

func forkMaps(maps []specs.LinuxIDMapping) []fork.IDMap {
	var out []fork.IDMap
	for _, m := range maps {
		out = append(out, fork.IDMap{ContainerID: int(m.ContainerID), HostID: int(m.HostID), Size: int(m.Size)})
	}
	return out
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}
