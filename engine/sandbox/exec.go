package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"naru/engine/sandbox/fork"
	"naru/engine/sandbox/program"
	"naru/naru"
)

// ExecConfig is one more process for a running container.
type ExecConfig struct {
	ID         string // unique per process, for the spawner
	PID        int    // the container's process 1, as the host sees it
	PidFD      *os.File
	Process    *specs.Process
	Linux      *specs.Linux // the container's
	Filters    *Filters     // see Config
	CgroupPath string       // the container's
	Files      [3]*os.File
	Console    bool
	Keep       []*os.File // the process's descriptors from 3 on
	// KeepKeyring leaves the process in the session keyring of who starts it.
	KeepKeyring bool
	// NotifyState makes what a seccomp policy's listener reads, see OCI.
	NotifyState func(pid int) ([]byte, error)
}

// Exec starts a process in a container's namespaces and cgroup.
func Exec(ctx context.Context, cfg ExecConfig, sp Spawner) (*Sandbox, error) {
	if err := validateProcess(cfg.Process); err != nil {
		return nil, err
	}
	if err := checkLabels(cfg.Process, cfg.Linux); err != nil {
		return nil, err
	}
	ops, err := planExec(&cfg)
	if err != nil {
		return nil, err
	}
	group, err := newCgroup(cfg.CgroupPath, nil)
	if err != nil {
		return nil, err
	}
	cmd, err := execCmd(&cfg, group)
	defer func() { closeAll(group.open) }()
	if err != nil {
		return nil, err
	}
	cmd.Bare = bareFits(ops, 0)
	s, err := spawnOn(ctx, sp, &cfg, cmd)
	if err != nil {
		return nil, err
	}
	defer s.close()
	return s.finish(ctx, func() error { return s.setUpExec(&cfg, ops) })
}

func (s *session) setUpExec(cfg *ExecConfig, ops []program.Op) error {
	ids := idmapsOf(cfg.Linux)
	if ids.userns {
		if err := ids.read(s.process.PID); err != nil {
			return err
		}
	}
	if err := s.prepareProcess(cfg.Process, ids); err != nil {
		return err
	}
	files, err := lendAgent(ops, nil, cfg.NotifyState, s.process.PID)
	if err != nil {
		return err
	}
	defer closeAll(files)
	return s.send(files, ops)
}

func planExec(cfg *ExecConfig) ([]program.Op, error) {
	var ops []program.Op
	if wantsConsole(cfg.Console, cfg.Process) {
		ops = append(ops, consoleOp(cfg.Process, ""))
	}
	if a := cfg.Process.ExecCPUAffinity; a != nil && a.Final != "" {
		final, _ := parseMask("", a.Final) // validated
		ops = append(ops, program.Op{Kind: program.Affinity, Args: final})
	}
	ops = append(ops, planLabels(cfg.Process)...)
	ops = append(ops, planKeyring(cfg.KeepKeyring)...)
	process, err := planProcess(cfg.Process, cfg.Linux, cfg.Filters, false)
	return append(ops, keepFiles(process, cfg.Keep)...), err
}

// spawnOn spawns on the processors that the process is to enter the cgroup on: a child has those of the thread that
// forks it. That is this one where the spawner forks here, as the OCI command's does, who alone asks for it.
func spawnOn(ctx context.Context, sp Spawner, cfg *ExecConfig, cmd fork.Cmd) (*session, error) {
	a := cfg.Process.ExecCPUAffinity
	if a == nil || a.Initial == "" {
		return spawn(ctx, sp, cfg.ID, cmd, cfg.Files, cfg.Keep)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before, during unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return nil, fmt.Errorf("read the processors: %w", err)
	}
	initial, _ := parseMask("", a.Initial) // validated
	for cpu := range len(initial) * 64 {
		if initial[cpu/64]&(1<<(cpu%64)) != 0 {
			during.Set(cpu)
		}
	}
	if err := unix.SchedSetaffinity(0, &during); err != nil {
		return nil, naru.Errorf(naru.InvalidArgument, "spec field process.execCPUAffinity.initial %q: %w", a.Initial, err)
	}
	defer func() { _ = unix.SchedSetaffinity(0, &before) }() // it had them a moment ago
	return spawn(ctx, sp, cfg.ID, cmd, cfg.Files, cfg.Keep)
}

func execCmd(cfg *ExecConfig, group *cgroup) (fork.Cmd, error) {
	cmd := initCmd()
	flags, err := foreignNamespaces(cfg.PID)
	if err != nil {
		return cmd, fmt.Errorf("find the namespaces of process %d: %w", cfg.PID, err)
	}
	// Its namespaces were read by pid: they are the container's if the pidfd's process is alive still.
	if err := unix.PidfdSendSignal(int(cfg.PidFD.Fd()), 0, nil, 0); err != nil {
		return cmd, fmt.Errorf("process %d: %w", cfg.PID, errors.Join(os.ErrProcessDone, err))
	}
	cmd.Joins = []fork.Join{{File: cfg.PidFD, Flags: flags}}
	if cmd.Cgroups, err = group.tasks(); err != nil {
		return cmd, err
	}
	group.open = append(group.open, cmd.Cgroups...)
	return cmd, group.join(&cmd)
}

// foreignNamespaces are those of a process that are not ours: setns refuses to enter a user namespace a second time.
func foreignNamespaces(pid int) (uintptr, error) {
	files := map[specs.LinuxNamespaceType]string{
		specs.PIDNamespace: "pid", specs.NetworkNamespace: "net", specs.MountNamespace: "mnt", specs.IPCNamespace: "ipc",
		specs.UTSNamespace: "uts", specs.UserNamespace: "user", specs.CgroupNamespace: "cgroup", specs.TimeNamespace: "time",
	}
	var flags uintptr
	for kind, name := range files {
		theirs, err := os.Readlink(procPath(pid, "ns/"+name))
		if err != nil {
			return 0, err
		}
		if ours, err := os.Readlink("/proc/self/ns/" + name); err != nil || ours != theirs {
			flags |= cloneFlags()[kind]
		}
	}
	return flags, nil
}
