package logs

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// watcher wakes a reader when something in a folder was written or made, when done closes, and when ctx ends.
type watcher struct {
	ctx    context.Context
	events *os.File
	finish <-chan struct{}
	stop   chan struct{}
}

// watch begins to watch dir. The caller closes the watcher.
func watch(ctx context.Context, dir string, finish <-chan struct{}) (*watcher, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("follow logs: inotify (see fs.inotify.max_user_instances): %w", err)
	}
	events := os.NewFile(uintptr(fd), "inotify") // non-blocking, so the runtime polls it and a deadline ends a read
	if _, err := unix.InotifyAddWatch(fd, dir, unix.IN_MODIFY|unix.IN_CREATE|unix.IN_DELETE|unix.IN_DELETE_SELF); err != nil {
		return nil, errorsClose(fmt.Errorf("follow logs in %s: %w", dir, err), events)
	}
	w := &watcher{ctx: ctx, events: events, finish: finish, stop: make(chan struct{})}
	go w.interrupt()
	return w, nil
}

// interrupt ends the waiting for events when there is another reason to wake up, and closes them when told to stop.
func (w *watcher) interrupt() {
	select {
	case <-w.ctx.Done():
	case <-w.finish:
	case <-w.stop:
	}
	_ = w.events.SetReadDeadline(time.Unix(1, 0)) // fails only when closed
	<-w.stop
	_ = w.events.Close()
}

// done reports whether what is written now is all that will be.
func (w *watcher) done() bool {
	select {
	case <-w.finish:
		return true
	default:
		return false
	}
}

// wait returns when there may be something new, when done closed, and with an error when ctx ended. Which file an
// event is about does not matter: the reader looks again.
func (w *watcher) wait() error {
	var events [4 << 10]byte
	n, err := w.events.Read(events[:])
	if ctxErr := w.ctx.Err(); ctxErr != nil {
		return ctxErr
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("follow logs: %w", err)
	}
	return folderGone(events[:n])
}

// folderGone returns errStopped when the watched folder was removed: there will be no more. The kernel says so only
// when nobody has a file in it open; whoever has notices that the file was removed.
func folderGone(events []byte) error {
	for len(events) >= unix.SizeofInotifyEvent {
		mask := binary.NativeEndian.Uint32(events[4:])
		if mask&(unix.IN_DELETE_SELF|unix.IN_IGNORED) != 0 {
			return errStopped
		}
		events = events[unix.SizeofInotifyEvent+binary.NativeEndian.Uint32(events[12:]):]
	}
	return nil
}

// close ends the watching. It does not wait for interrupt: the kernel takes some 10 ms to close an inotify instance, and
// the end of every container's output would.
func (w *watcher) close() { close(w.stop) }
