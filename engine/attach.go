package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"naru/engine/logs"
	"naru/naru"
)

// Streams connect a caller to a process. A nil stream is not connected. Stdin, when it is an io.Closer, is closed when
// the process has ended, so that whoever feeds it stops.
type Streams struct {
	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer // with a terminal, all output goes to Stdout
	Resize <-chan Size
}

// Size is the size of a terminal in characters.
type Size struct{ Rows, Columns uint16 }

// Logs returns what the container has printed, the oldest first; with o.Follow it goes on until the container has
// exited.
func (e *Engine) Logs(ctx context.Context, idOrName string, o logs.Options) iter.Seq2[logs.Entry, error] {
	return func(yield func(logs.Entry, error) bool) {
		en, err := e.find(idOrName)
		if err == nil {
			err = e.hold(en)
		}
		if err != nil {
			yield(logs.Entry{}, err)
			return
		}
		defer e.letGo(ctx, en)
		e.readLog(ctx, en, o)(yield)
	}
}

// readLog is Logs for somebody who holds the container.
func (e *Engine) readLog(ctx context.Context, en *entry, o logs.Options) iter.Seq2[logs.Entry, error] {
	e.mu.Lock()
	defer e.mu.Unlock()
	o.Done = en.done
	o.Follow = o.Follow && en.done != nil
	o.Watcher = &e.followers
	return logs.Read(ctx, e.logDir(en.c.ID), o)
}

// RunAttached starts a container with the streams connected, and returns it when it has ended and all of its output is
// written. When ctx ends first, the container runs on. One with AutoRemove is removed when nobody reads from it any
// more.
func (e *Engine) RunAttached(ctx context.Context, idOrName string, s Streams) (Container, error) {
	en, err := e.find(idOrName)
	if err != nil {
		return Container{}, err
	}
	if err := e.hold(en); err != nil {
		return Container{}, err
	}
	defer e.letGo(ctx, en)
	if err := e.Start(ctx, e.snapshot(en).ID); err != nil {
		return e.snapshot(en), err
	}
	c := e.snapshot(en)
	if err := e.join(ctx, en, s, logs.Options{Follow: true, Since: c.StartedAt}); err != nil {
		return e.snapshot(en), fmt.Errorf("attach to container %s: %w", c.Name, err)
	}
	return e.waitEntry(ctx, en)
}

// Attach connects the streams to the container's current run, from its first byte, and returns when it has ended and
// all of its output is written.
func (e *Engine) Attach(ctx context.Context, idOrName string, s Streams) error {
	_, err := e.attachTo(ctx, idOrName, s, func(c Container) logs.Options {
		return logs.Options{Follow: true, Since: c.StartedAt}
	})
	return err
}

// AttachNow is Attach for a container that runs, from what it writes next, and returns the container at its end.
func (e *Engine) AttachNow(ctx context.Context, idOrName string, s Streams) (Container, error) {
	_, c, err := e.runningEntry(idOrName)
	if err != nil {
		return Container{}, err
	}
	now, err := logs.End(e.logDir(c.ID)) // before it hears anything: its answer comes next
	if err != nil {
		return Container{}, err
	}
	return e.attachTo(ctx, c.ID, s, func(Container) logs.Options { return logs.Options{Follow: true, From: now} })
}

func (e *Engine) attachTo(ctx context.Context, idOrName string, s Streams, options func(Container) logs.Options) (Container, error) {
	en, err := e.find(idOrName)
	if err != nil {
		return Container{}, err
	}
	if err := e.hold(en); err != nil {
		return Container{}, err
	}
	defer e.letGo(ctx, en)
	if err := e.join(ctx, en, s, options(e.snapshot(en))); err != nil {
		return Container{}, err
	}
	return e.waitEntry(ctx, en)
}

// join connects the streams, for who holds the container.
func (e *Engine) join(ctx context.Context, en *entry, s Streams, o logs.Options) error {
	e.mu.Lock()
	c, tty, stdin := en.c, en.tty, io.Writer(en.stdin)
	if tty != nil {
		stdin = tty
	}
	interactive := tty != nil || en.stdin != nil
	e.mu.Unlock()

	var feeding sync.WaitGroup
	defer feeding.Wait()
	if s.Stdin != nil && interactive {
		feeding.Go(func() { e.feed(en, c, stdin, s.Stdin) })
		defer closeReader(s.Stdin)
	}
	if s.Resize != nil && tty != nil {
		resizing, stop := context.WithCancel(ctx)
		defer stop()
		feeding.Go(func() { followSize(resizing, tty, s.Resize) })
	}
	return e.copyOutput(ctx, en, s, o)
}

// feed copies to the process's standard input; at the end of a pipe's input the process sees the end too.
func (e *Engine) feed(en *entry, c Container, to io.Writer, from io.Reader) {
	if _, err := io.Copy(to, from); err != nil && !isHangUp(err) {
		e.log.Warn("feed a container's standard input", "container", c.Name, "err", err)
	}
	e.endInput(en, c.ID)
}

// endInput lets a process that reads a pipe see the end of its input. A terminal has none.
func (e *Engine) endInput(en *entry, id string) {
	e.mu.Lock()
	stdin := en.stdin
	en.stdin = nil
	e.mu.Unlock()
	if stdin == nil {
		return
	}
	closeAll(stdin)
	e.logFailure("end a container's input", e.cfg.Keeper.Release(context.WithoutCancel(e.life), keptStdin(id)))
}

// isHangUp reports an error that only says that one side has gone.
func isHangUp(err error) bool {
	return errors.Is(err, unix.EPIPE) || errors.Is(err, unix.EIO) || errors.Is(err, os.ErrClosed) || errors.Is(err, io.ErrClosedPipe)
}

func closeReader(r io.Reader) {
	if c, ok := r.(io.Closer); ok {
		_ = c.Close() // it only unblocks the reader
	}
}

func (e *Engine) copyOutput(ctx context.Context, en *entry, s Streams, o logs.Options) error {
	for entry, err := range e.readLog(ctx, en, o) {
		if err != nil {
			return fmt.Errorf("read the output: %w", err)
		}
		w := s.Stdout
		if entry.Stream == logs.Stderr {
			w = s.Stderr
		}
		if w == nil {
			continue
		}
		if _, err := w.Write(entry.Data); err != nil {
			return fmt.Errorf("hand on the output: %w", err)
		}
	}
	return nil
}

// followSize gives the terminal each size that comes, until ctx or the sizes end.
func followSize(ctx context.Context, tty *os.File, sizes <-chan Size) {
	for {
		select {
		case <-ctx.Done():
			return
		case s, ok := <-sizes:
			if !ok {
				return
			}
			_ = setSize(tty, s) // a terminal that has just hung up has no size
		}
	}
}

// setSize borrows the descriptor for the call: the terminal may be closed meanwhile, and its number be another file's.
func setSize(tty *os.File, s Size) error {
	conn, err := tty.SyscallConn()
	if err != nil {
		return err
	}
	var refused error
	err = conn.Control(func(fd uintptr) {
		refused = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: s.Rows, Col: s.Columns})
	})
	return errors.Join(err, refused)
}

// runningEntry returns the container when it runs, else a FailedPrecondition that says how it stands.
func (e *Engine) runningEntry(idOrName string) (*entry, Container, error) {
	en, err := e.find(idOrName)
	if err != nil {
		return nil, Container{}, err
	}
	c := e.snapshot(en)
	if c.State != Running {
		return nil, c, naru.Errorf(naru.FailedPrecondition, "container %s is %s, not running: start it first", c.Name, c.State)
	}
	return en, c, nil
}
