package logs

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// Watcher wakes those who follow logs when something was written. It takes one inotify instance for all of them, while
// there is anybody: a user may have no more than 128 (fs.inotify.max_user_instances), and the kernel takes some 10 ms
// to close one. The zero Watcher is ready; the owner closes it when nobody follows any more.
type Watcher struct {
	mu      sync.Mutex
	events  *os.File // nil until somebody follows
	fd      int      // of events
	folders map[int]*folder
	reading sync.WaitGroup
}

// folder is a watched one; the number of its watch is its key.
type folder struct {
	followers map[*follower]bool
	gone      bool // there will be no more
}

// follower is who follows the logs of one folder.
type follower struct {
	watcher *Watcher
	watch   int
	folder  *folder
	finish  <-chan struct{}
	wake    chan struct{} // a hint: look again
	alone   bool          // the watcher is this follower's, and ends with it
}

// follow begins to watch dir. The caller closes the follower.
func (w *Watcher) follow(dir string, finish <-chan struct{}) (*follower, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.open(); err != nil {
		return nil, err
	}
	const what = unix.IN_MODIFY | unix.IN_CREATE | unix.IN_DELETE | unix.IN_DELETE_SELF
	watch, err := unix.InotifyAddWatch(w.fd, dir, what)
	if err != nil {
		return nil, fmt.Errorf("follow logs in %s: %w", dir, err)
	}
	if w.folders[watch] == nil {
		w.folders[watch] = &folder{followers: map[*follower]bool{}}
	}
	f := &follower{watcher: w, watch: watch, folder: w.folders[watch], finish: finish, wake: make(chan struct{}, 1)}
	f.folder.followers[f] = true
	return f, nil
}

// open makes the instance when there is none. The caller holds w.mu.
func (w *Watcher) open() error {
	if w.events != nil {
		return nil
	}
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return fmt.Errorf("follow logs: inotify (see fs.inotify.max_user_instances): %w", err)
	}
	events := os.NewFile(uintptr(fd), "inotify") // non-blocking, so the runtime polls it and Close ends a read
	w.events, w.fd, w.folders = events, fd, map[int]*folder{}
	w.reading.Go(func() { w.read(events) })
	return nil
}

// read hands events on until the instance is closed.
func (w *Watcher) read(events *os.File) {
	buf := make([]byte, 16<<10)
	for {
		n, err := events.Read(buf)
		if err != nil {
			return // closed: reading an instance fails in no other way
		}
		w.dispatch(buf[:n])
	}
}

func (w *Watcher) dispatch(events []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(events) >= unix.SizeofInotifyEvent {
		watch, mask := int(int32(binary.NativeEndian.Uint32(events))), binary.NativeEndian.Uint32(events[4:])
		switch f := w.folders[watch]; {
		case mask&unix.IN_Q_OVERFLOW != 0:
			for _, f := range w.folders {
				f.hint()
			}
		case f == nil: // nobody follows it any more
		case mask&(unix.IN_DELETE_SELF|unix.IN_IGNORED) != 0:
			f.gone = true
			delete(w.folders, watch)
			f.hint()
		default:
			f.hint()
		}
		events = events[unix.SizeofInotifyEvent+binary.NativeEndian.Uint32(events[12:]):]
	}
}

// hint tells the followers to look again, whichever file it is about. The caller holds the watcher's mu.
func (f *folder) hint() {
	for follower := range f.followers {
		select {
		case follower.wake <- struct{}{}:
		default:
		}
	}
}

// done reports whether what is written now is all that will be.
func (f *follower) done() bool {
	select {
	case <-f.finish:
		return true
	default:
		return false
	}
}

// wait returns when there may be something new, when finish closed, and with an error when ctx ended. When the folder
// was removed, there will be no more. The kernel says so only when nobody has a file in it open; whoever has notices
// that the file was removed.
func (f *follower) wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-f.finish:
		return nil
	case <-f.wake:
	}
	f.watcher.mu.Lock()
	defer f.watcher.mu.Unlock()
	if f.folder.gone {
		return errStopped
	}
	return nil
}

func (f *follower) close() {
	if f.alone {
		_ = f.watcher.Close() // an instance to read: nothing can be lost
		return
	}
	w := f.watcher
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(f.folder.followers, f)
	if len(f.folder.followers) == 0 && w.folders[f.watch] == f.folder {
		delete(w.folders, f.watch)
		_, _ = unix.InotifyRmWatch(w.fd, uint32(f.watch)) // gone already, if the folder is
	}
}

// Close ends the watching and waits for its end; nobody may follow meanwhile.
func (w *Watcher) Close() error {
	w.mu.Lock()
	events := w.events
	w.events = nil
	w.mu.Unlock()
	if events == nil {
		return nil
	}
	err := events.Close()
	w.reading.Wait()
	if err != nil && !errors.Is(err, os.ErrClosed) {
		return fmt.Errorf("stop following logs: %w", err)
	}
	return nil
}
