package ociruntime

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"naru/engine/sandbox"
	"naru/naru"
)

// ParseSignal is sandbox.ParseSignal, for command lines.
func ParseSignal(s string) (unix.Signal, error) { return sandbox.ParseSignal(s) }

// errNotRunning has runc's words, which containerd, dockerd and podman look for.
func errNotRunning() error { return naru.Errorf(naru.FailedPrecondition, "container not running") }

// Kill sends a signal to a container's first process, or to all of its processes.
func (r *Runtime) Kill(id string, signal unix.Signal, all bool) error {
	c, err := r.load(id)
	if err != nil {
		return err
	}
	if all {
		return c.killAll(signal)
	}
	fd, err := c.pidfd()
	if errors.Is(err, unix.ESRCH) {
		return errNotRunning()
	}
	if err != nil {
		return fmt.Errorf("open process %d: %w", c.PID, err)
	}
	defer fd.Close()
	if err := unix.PidfdSendSignal(int(fd.Fd()), signal, nil, 0); err != nil {
		return fmt.Errorf("signal container %s: %w", id, err)
	}
	return nil
}

// killAll signals every process. Between reading a pid and signalling it, it could become another's; a pidfd that is
// opened before the group is read a second time cannot.
func (c *record) killAll(signal unix.Signal) error {
	pids, err := c.processes()
	if err != nil {
		return err
	}
	fds := map[int]int{}
	defer func() {
		for _, fd := range fds {
			unix.Close(fd)
		}
	}()
	for _, pid := range pids {
		if fd, err := unix.PidfdOpen(pid, 0); err == nil {
			fds[pid] = fd
		}
	}
	still, err := c.processes()
	if err != nil {
		return err
	}
	for _, pid := range still {
		fd, some := fds[pid]
		if !some {
			continue
		}
		if err := unix.PidfdSendSignal(fd, signal, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("signal process %d: %w", pid, err)
		}
	}
	return nil
}

// kill ends a process of ours and reaps it.
func kill(box *sandbox.Sandbox) error {
	if err := sandbox.Kill(box, unix.SIGKILL); err != nil {
		return err
	}
	if err := awaitEnd(box.PidFD); err != nil {
		return err
	}
	_ = unix.Waitid(unix.P_PIDFD, int(box.PidFD.Fd()), nil, unix.WEXITED|unix.WNOHANG, nil) // ECHILD: another's
	return nil
}

// killWait bounds how long a killed process may take to end.
const killWait = 10 * time.Second

func awaitEnd(pidfd *os.File) error {
	fds := []unix.PollFd{{Fd: int32(pidfd.Fd()), Events: unix.POLLIN}}
	for end := time.Now().Add(killWait); ; {
		n, err := unix.Poll(fds, int(time.Until(end).Milliseconds()))
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return fmt.Errorf("wait for the end of a process: %w", err)
		case n > 0:
			return nil
		default:
			return naru.Errorf(naru.Unavailable, "a killed process has not ended after %s", killWait)
		}
	}
}

// Delete forgets a container that has stopped, or with force ends it first.
func (r *Runtime) Delete(ctx context.Context, id string, force bool) error {
	c, err := r.load(id)
	if naru.CodeOf(err) == naru.NotFound && force {
		return r.sweep(id)
	}
	if err != nil {
		return err
	}
	status, err := c.status()
	switch {
	case err != nil:
		return err
	case status != specs.StateStopped && !force:
		return naru.Errorf(naru.FailedPrecondition, "cannot delete container %s that is not stopped: %s", id, status)
	}
	if err := c.end(); err != nil {
		return err
	}
	return r.remove(ctx, c)
}

// remove forgets a container whose process has ended.
func (r *Runtime) remove(ctx context.Context, c *record) error {
	if err := sandbox.RemoveCgroup(ctx, c.CgroupPath); err != nil {
		return err
	}
	if err := c.unmount(); err != nil {
		return err
	}
	r.poststop(ctx, c)
	return os.RemoveAll(c.dir)
}

// sweep removes the folder of a container whose creation was cut off before it had a state.
func (r *Runtime) sweep(id string) error {
	dir, err := r.dir(id)
	if err != nil {
		return err
	}
	return os.RemoveAll(dir)
}

// end kills the first process, if it lives, and waits for its end.
func (c *record) end() error {
	fd, err := c.pidfd()
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open process %d: %w", c.PID, err)
	}
	defer fd.Close()
	if err := unix.PidfdSendSignal(int(fd.Fd()), unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("kill container %s: %w", c.ID, err)
	}
	if err := sandbox.Freeze(c.CgroupPath, false); err != nil { // a frozen process of v1 dies only when it thaws
		return err
	}
	return awaitEnd(fd)
}
