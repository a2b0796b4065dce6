package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// awaitExit waits until the process of a pidfd has ended, without reaping it. The pidfd is watched through an epoll
// set of its own: making the pidfd itself non-blocking would change it for the keeper too, which shares it.
func awaitExit(ctx context.Context, pidfd *os.File) error {
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return fmt.Errorf("wait for a process: %w", err)
	}
	if err := unix.SetNonblock(ep, true); err != nil {
		unix.Close(ep)
		return fmt.Errorf("wait for a process: %w", err)
	}
	set := os.NewFile(uintptr(ep), "epoll")
	defer set.Close()
	event := unix.EpollEvent{Events: unix.EPOLLIN}
	if err := unix.EpollCtl(ep, unix.EPOLL_CTL_ADD, int(pidfd.Fd()), &event); err != nil {
		return fmt.Errorf("wait for a process: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = set.SetReadDeadline(time.Unix(1, 0)) /* closed: the wait is over */ })
	defer stop()
	conn, err := set.SyscallConn()
	if err != nil {
		return fmt.Errorf("wait for a process: %w", err)
	}
	events := make([]unix.EpollEvent, 1)
	err = conn.Read(func(fd uintptr) bool {
		n, err := unix.EpollWait(int(fd), events, 0)
		return n > 0 || err != nil && !errors.Is(err, unix.EINTR)
	})
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}
