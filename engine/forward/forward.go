// Package forward receives what a container's log holds, owns how far it was handed on, and hands it to receivers
// outside: the daemon's own standard output, a syslog, an OpenTelemetry collector.
//
// The stored log is the truth and the buffer: a receiver that is slow, full or gone holds up nobody but the loop that
// feeds it, and the container writes on. A position is written down when the receiver has what lies before it, so
// every line arrives at least once, and after a crash some arrive twice. What the disk budget took in the meantime is
// told as a number of lines.
package forward

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"naru/engine/logs"
)

// Source is the container that a log is of.
type Source struct {
	ID, Name, Image string
	Labels          map[string]string
}

// Message is a line that a container printed, or, when Dropped is not zero, that so many are gone.
type Message struct {
	Time    time.Time
	Stream  logs.Stream
	Text    []byte // without its newline
	Dropped uint64
}

// text is what people read.
func (m Message) text() []byte {
	if m.Dropped == 0 {
		return m.Text
	}
	return fmt.Appendf(nil, "naru: %d lines were dropped here", m.Dropped)
}

// Receiver takes batches of messages, from many containers at the same time. When Send returns nil, the receiver has
// them all; a Refused says that it never will.
type Receiver interface {
	Send(ctx context.Context, from Source, batch []Message) error
}

// Refused is the error of a receiver that does not want some messages, ever.
type Refused struct {
	Messages int
	Err      error
}

// Error implements error.
func (r *Refused) Error() string { return r.Err.Error() }

// Unwrap gives the reason.
func (r *Refused) Unwrap() error { return r.Err }

// Busy is the error of a receiver that says when to come again.
type Busy struct {
	After time.Duration
	Err   error
}

// Error implements error.
func (b *Busy) Error() string { return b.Err.Error() }

// Unwrap gives the reason.
func (b *Busy) Unwrap() error { return b.Err }

// Log is a container's log on its way to one receiver.
type Log struct {
	Source   Source
	Dir      string                 // of its segments
	Position string                 // the file that says how far it was handed on
	Ended    func() <-chan struct{} // closes when the container has exited; asked anew each time, for it may start again
}

const (
	// How long the loop rests when nothing was there: longer and longer, as a silent container must cost next to nothing.
	shortestRest = 50 * time.Millisecond
	longestRest  = time.Second
	// How long it waits for a receiver that does not take a batch.
	firstBackoff   = 100 * time.Millisecond
	longestBackoff = 30 * time.Second
)

// Follow hands the log on until ctx ends, which is an error, or until the container has exited and all it said is
// delivered.
func Follow(ctx context.Context, l Log, to Receiver, log *slog.Logger) error {
	f := &follower{Log: l, to: to, log: log.With("container", l.Source.Name)}
	if err := f.load(); err != nil {
		return err
	}
	for rest := shortestRest; ; rest = min(2*rest, longestRest) {
		ended := f.hasEnded() // before the look, so that nothing comes in between
		more, err := f.look(ctx, ended)
		switch {
		case err != nil:
			return err
		case !more && ended:
			return nil
		case more:
			rest = shortestRest
		}
		if err := f.rest(ctx, rest, ended); err != nil {
			return err
		}
	}
}

// follower is one Follow.
type follower struct {
	Log
	to    Receiver
	log   *slog.Logger
	lines joiner
	lost  int // messages that the receiver refused and was not told of yet
}

func (f *follower) hasEnded() bool {
	select {
	case <-f.Ended():
		return true
	default:
		return false
	}
}

func (f *follower) rest(ctx context.Context, d time.Duration, ended bool) error {
	end := f.Ended()
	if ended {
		end = nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-end:
	case <-timer.C:
	}
	return nil
}

// look hands on what is there, and reports whether that was anything.
func (f *follower) look(ctx context.Context, ended bool) (more bool, err error) {
	if logs.Grown(f.Dir, f.lines.next) {
		for e, err := range logs.Read(ctx, f.Dir, logs.Options{From: f.lines.next}) {
			if err != nil {
				return more, err
			}
			more = true
			f.lines.add(e)
			if f.lines.full() {
				if err := f.deliver(ctx); err != nil {
					return more, err
				}
			}
		}
	}
	if ended && !more {
		f.lines.end()
	}
	return more, f.deliver(ctx)
}

// deliver hands the batch on, however long that takes, and writes the position behind it down.
func (f *follower) deliver(ctx context.Context) error {
	batch := f.lines.take()
	if len(batch) == 0 {
		return nil
	}
	if f.lost > 0 {
		batch = append([]Message{{Time: batch[0].Time, Stream: logs.Stderr, Dropped: uint64(f.lost)}}, batch...)
		f.lost = 0
	}
	if err := f.send(ctx, batch); err != nil {
		return err
	}
	if err := f.save(); err != nil { // no room, say: after a crash the receiver gets it twice
		f.log.Warn("write down how far a log was forwarded", "err", err)
	}
	return nil
}

// send tries until the receiver has decided.
func (f *follower) send(ctx context.Context, batch []Message) error {
	for wait := firstBackoff; ; wait = min(2*wait, longestBackoff) {
		err := f.to.Send(ctx, f.Source, batch)
		var refused *Refused
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil:
			return nil
		case errors.As(err, &refused):
			f.log.Error("forward a log: lines are refused, and lost", "lines", refused.Messages, "err", err)
			f.lost += refused.Messages
			return nil
		case wait == firstBackoff: // once an outage, not once a try
			f.log.Warn("forward a log: the lines wait on disk", "err", err)
		}
		if err := pause(ctx, max(wait, after(err))); err != nil {
			return err
		}
	}
}

// after is the time that a busy receiver asks for.
func after(err error) time.Duration {
	var busy *Busy
	if errors.As(err, &busy) {
		return busy.After
	}
	return 0
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// load finds where an earlier follower came to. A position that cannot be read is the beginning: everything once more is
// better than something never.
func (f *follower) load() error {
	text, err := os.ReadFile(f.Position)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read how far a log was forwarded: %w", err)
	}
	if err := json.Unmarshal(text, &f.lines.next); err != nil {
		f.log.Warn("read how far a log was forwarded: it begins anew", "file", f.Position, "err", err)
		f.lines.next = logs.Position{}
	}
	return nil
}

// save replaces the position in one step. It is not forced to the disk: after a power cut an older one is as good.
func (f *follower) save() error {
	text, err := json.Marshal(f.lines.safe())
	if err != nil {
		return fmt.Errorf("encode a position: %w", err)
	}
	if err := os.WriteFile(f.Position+".new", text, 0o600); err != nil {
		return err
	}
	return os.Rename(f.Position+".new", f.Position)
}
