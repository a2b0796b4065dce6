package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"naru/engine/sandbox/fork"
	"naru/engine/sandbox/program"
)

// ExecConfig is one more process for a running container.
type ExecConfig struct {
	ID         string // unique per process, for the spawner
	PID        int    // the container's process 1, as the host sees it
	PidFD      *os.File
	Process    *specs.Process
	Seccomp    *specs.LinuxSeccomp // the container's
	Filters    *Filters            // see Config
	CgroupPath string              // the container's
	UIDMap     []specs.LinuxIDMapping
	GIDMap     []specs.LinuxIDMapping
	Files      [3]*os.File
	Console    bool
	Keep       []*os.File // the process's descriptors from 3 on
}

// Exec starts a process in a container's namespaces and cgroup.
func Exec(ctx context.Context, cfg ExecConfig, sp Spawner) (*Sandbox, error) {
	if err := validateProcess(cfg.Process); err != nil {
		return nil, err
	}
	var ops []program.Op
	if wantsConsole(cfg.Console, cfg.Process) {
		ops = append(ops, consoleOp(cfg.Process, ""))
	}
	process, err := planProcess(cfg.Process, cfg.Filters, cfg.Seccomp, false)
	if err != nil {
		return nil, err
	}
	ops = append(ops, keepFiles(process, cfg.Keep)...)
	group, err := newCgroup(cfg.CgroupPath, nil)
	if err != nil {
		return nil, err
	}
	cmd, err := execCmd(&cfg, group)
	defer func() { closeAll(group.open) }()
	if err != nil {
		return nil, err
	}
	s, err := spawn(ctx, sp, cfg.ID, cmd, cfg.Files, cfg.Keep)
	if err != nil {
		return nil, err
	}
	defer s.close()
	return s.finish(ctx, func() error {
		if err := s.prepareProcess(cfg.Process, idmaps{cfg.UIDMap, cfg.GIDMap}); err != nil {
			return err
		}
		return s.send(nil, ops)
	})
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
	cmd.Join, cmd.JoinFlags = cfg.PidFD, flags
	return cmd, group.join(&cmd)
}

// foreignNamespaces are those of a process that are not ours: setns refuses to enter a user namespace a second time.
func foreignNamespaces(pid int) (uintptr, error) {
	files := map[specs.LinuxNamespaceType]string{
		specs.PIDNamespace: "pid", specs.NetworkNamespace: "net", specs.MountNamespace: "mnt", specs.IPCNamespace: "ipc",
		specs.UTSNamespace: "uts", specs.UserNamespace: "user", specs.CgroupNamespace: "cgroup",
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
