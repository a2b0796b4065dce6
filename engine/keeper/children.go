package keeper

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"naru/engine/keeper/internal/wire"
	"naru/engine/logs"
	"naru/engine/sandbox/fork"
)

// Output says where the outputs of a process go that its Cmd gives no file for.
type Output struct {
	LogDir string      // a folder for package logs; "" is /dev/null
	Limits logs.Limits // zero is the default
}

// Child is a process that the keeper started and that is not forgotten.
type Child struct {
	ID        string
	PID       int
	StartedAt time.Time
	Exited    bool
	Logging   bool // a process still holds one of its log pipes
	Exit      Exit // when Exited
}

// Exit is how a process ended. Code is as a shell has it: of a process killed by a signal it is 128 and the Signal.
type Exit struct {
	Code   int
	Signal int
	At     time.Time
}

// Spawn starts cmd as a child of the keeper. The id must be new: no child of it may run or have an exit that is not
// forgotten. A nil Exe is the keeper's executable, of this program's build. The caller closes the pidfd. If ctx ends
// first, the process is one of Children, for the caller to end, or the keeper ends it and forgets it.
func (c *Client) Spawn(ctx context.Context, id string, cmd fork.Cmd, out Output) (fork.Process, error) {
	if cmd.KillWithParent {
		return fork.Process{}, errors.New("spawn: what the keeper starts does not die with it")
	}
	if cmd.MapIDs != nil {
		return fork.Process{}, errors.New("spawn: the keeper maps ids itself")
	}
	if len(cmd.Joins) > 1 {
		return fork.Process{}, errors.New("spawn: the keeper's protocol has one namespace to join")
	}
	cmd.Bare = cmd.Bare && c.info.Current // or its program could mean another thing to the keeper
	if cmd.Exe == nil {
		exe, err := c.executable()
		if err != nil {
			return fork.Process{}, err
		}
		cmd.Exe = exe
	}
	reply, got, err := c.call(ctx, wire.Request{Op: wire.Spawn, ID: id, Spawn: spawnRequest(cmd, out)}, descriptors(cmd)...)
	runtime.KeepAlive(cmd) // its files stay open until they are sent
	if err != nil {
		return fork.Process{}, fmt.Errorf("spawn %s: %w", id, err)
	}
	fd, err := one(got)
	return fork.Process{PID: reply.PID, FD: fd}, err
}

func spawnRequest(cmd fork.Cmd, out Output) wire.SpawnRequest {
	r := wire.SpawnRequest{
		Args: cmd.Args, Env: cmd.Env, Setsid: cmd.Setsid,
		Namespaces: uint64(cmd.Namespaces), UIDMap: cmd.UIDMap, GIDMap: cmd.GIDMap,
		HasExe: cmd.Exe != nil, HasCgroup: cmd.CgroupFD > 0, Cgroups: len(cmd.Cgroups),
		LogDir: out.LogDir, LogSize: out.Limits.Size, LogFiles: out.Limits.Files, Bare: cmd.Bare,
	}
	for _, j := range cmd.Joins { // one at most, see Spawn
		r.HasJoin, r.JoinFlags = true, uint64(j.Flags)
	}
	for _, f := range cmd.Files {
		r.Files = append(r.Files, f != nil)
	}
	return r
}

// descriptors lists those of cmd in the order that the protocol has them.
func descriptors(cmd fork.Cmd) []int {
	var fds []int
	if cmd.Exe != nil {
		fds = append(fds, int(cmd.Exe.Fd()))
	}
	for _, j := range cmd.Joins {
		fds = append(fds, int(j.File.Fd()))
	}
	if cmd.CgroupFD > 0 {
		fds = append(fds, cmd.CgroupFD)
	}
	for _, f := range append(cmd.Cgroups[:len(cmd.Cgroups):len(cmd.Cgroups)], cmd.Files...) {
		if f != nil {
			fds = append(fds, int(f.Fd()))
		}
	}
	return fds
}

// one takes the single descriptor that a reply must carry.
func one(got []int) (*os.File, error) {
	if len(got) != 1 {
		wire.Close(got)
		return nil, fmt.Errorf("the keeper sent %d descriptors, not one", len(got))
	}
	return os.NewFile(uintptr(got[0]), "keeper"), nil
}

// Children lists the processes that are not forgotten, in the order they were started.
func (c *Client) Children(ctx context.Context) ([]Child, error) {
	var children []Child
	var after uint64
	for {
		r, _, err := c.call(ctx, wire.Request{Op: wire.List, After: after})
		if err != nil {
			return nil, fmt.Errorf("list children: %w", err)
		}
		for _, w := range r.Children {
			after = w.Sequence
			children = append(children, childOf(w))
		}
		if !r.More || len(r.Children) == 0 {
			return children, nil
		}
	}
}

func childOf(w wire.Child) Child {
	return Child{
		ID: w.ID, PID: w.PID, StartedAt: w.StartedAt, Exited: w.Exited, Logging: w.Logging, Exit: Exit(w.Exit),
	}
}

// PidFD returns a pidfd of a running child; of one that has exited the error is ErrExited.
func (c *Client) PidFD(ctx context.Context, id string) (*os.File, error) {
	_, got, err := c.call(ctx, wire.Request{Op: wire.PidFD, ID: id})
	if err != nil {
		return nil, fmt.Errorf("pidfd of %s: %w", id, err)
	}
	return one(got)
}

// Wait returns when the child has exited and all that it wrote is in its logs.
func (c *Client) Wait(ctx context.Context, id string) (Exit, error) {
	r, _, err := c.call(ctx, wire.Request{Op: wire.Wait, ID: id})
	if err != nil {
		return Exit{}, fmt.Errorf("wait for %s: %w", id, err)
	}
	if len(r.Children) != 1 {
		return Exit{}, fmt.Errorf("wait for %s: the keeper sent no exit", id)
	}
	return Exit(r.Children[0].Exit), nil
}

// Forget drops a child that has exited; its id is free again. Its logs end, though a process that it left behind may
// still hold them. Forgetting an unknown child is no error.
func (c *Client) Forget(ctx context.Context, id string) error {
	if _, _, err := c.call(ctx, wire.Request{Op: wire.Forget, ID: id}); err != nil {
		return fmt.Errorf("forget %s: %w", id, err)
	}
	return nil
}

// Quit ends the keeper and returns when it is gone. It is an error, ErrKept, when a child runs or a descriptor is
// kept. No keeper is no error.
func (c *Client) Quit(ctx context.Context) error {
	r, _, err := c.call(ctx, wire.Request{Op: wire.Hello})
	if errors.Is(err, ErrGone) {
		return nil
	}
	if err != nil {
		return err
	}
	pidfd, err := unix.PidfdOpen(r.PID, unix.PIDFD_NONBLOCK)
	if err != nil {
		return fmt.Errorf("find the keeper: %w", err)
	}
	ended := os.NewFile(uintptr(pidfd), "keeper")
	defer ended.Close()
	if _, _, err := c.call(ctx, wire.Request{Op: wire.Quit}); err != nil {
		return fmt.Errorf("quit the keeper: %w", err)
	}
	return waitReadable(ctx, ended)
}

// waitReadable waits until f, which the runtime polls, is readable: a pidfd is when its process has ended.
func waitReadable(ctx context.Context, f *os.File) error {
	stop := context.AfterFunc(ctx, func() { _ = f.SetReadDeadline(time.Unix(1, 0)) }) // it may be closed by then
	defer stop()
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	err = raw.Read(func(fd uintptr) bool {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		return n > 0 && err == nil
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}
