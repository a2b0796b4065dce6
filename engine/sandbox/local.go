package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"naru/engine/sandbox/fork"
)

// Local is a Spawner whose processes are children of this one and die with it: for builds, and for tests.
type Local struct {
	Exe *os.File // the init's binary, see fork.Seal
}

// Spawn forks here.
func (l *Local) Spawn(_ context.Context, _ string, cmd fork.Cmd) (fork.Process, error) {
	if cmd.Exe == nil {
		cmd.Exe = l.Exe
	}
	cmd.KillWithParent = true
	return fork.Start(Unsealed(cmd))
}

// Unsealed is cmd for a spawner whose own executable is not sealed: where others are in the namespaces already, nobody may
// enter who runs it (CVE-2019-5736).
func Unsealed(cmd fork.Cmd) fork.Cmd {
	cmd.Bare = cmd.Bare && len(cmd.Joins) == 0
	return cmd
}

// Exit is how a process ended: by itself with Code, or by Signal (Code is then 128 and it, as a shell says).
type Exit struct {
	Code   int
	Signal int
}

// Wait waits for a sandbox that Local spawned, and reaps it.
func (l *Local) Wait(ctx context.Context, s *Sandbox) (Exit, error) {
	if err := awaitExit(ctx, s.PidFD); err != nil {
		return Exit{}, fmt.Errorf("wait for process %d: %w", s.PID, err)
	}
	var status unix.WaitStatus
	for {
		_, err := unix.Wait4(s.PID, &status, 0, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return Exit{}, fmt.Errorf("reap process %d: %w", s.PID, err)
		case status.Signaled():
			return Exit{Code: 128 + int(status.Signal()), Signal: int(status.Signal())}, nil
		default:
			return Exit{Code: status.ExitStatus()}, nil
		}
	}
}

// Kill sends a signal to a sandbox's process. One that has ended is no error.
func Kill(s *Sandbox, signal unix.Signal) error {
	err := unix.PidfdSendSignal(int(s.PidFD.Fd()), signal, nil, 0)
	if err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("signal process %d: %w", s.PID, err)
	}
	return nil
}
