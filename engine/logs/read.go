package logs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"syscall"
	"time"
)

// Options say which entries to read.
type Options struct {
	Tail   int       // only the last so many lines; 0 reads all, below 0 none of those already there
	Since  time.Time // not before
	Until  time.Time // not after
	From   Position  // where an earlier Read has come to, as its last entry's Next says; without Tail
	Follow bool      // wait for more, until the context ends, Until has passed in the log, or Done

	// Done, when it closes, ends a Follow after all that is written by then. A caller closes it when it knows that
	// the process has ended.
	Done <-chan struct{}

	// Watcher is shared by those who follow; nil takes an inotify instance for this Read alone.
	Watcher *Watcher
}

// Read returns the entries of the logs in dir, in the order they were written. Without Follow it ends with what is
// there; a folder that does not exist has no entries. An error ends it; the end of ctx, too, is one.
func Read(ctx context.Context, dir string, o Options) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		if err := read(ctx, dir, o, yield); err != nil && !errors.Is(err, errStopped) {
			yield(Entry{}, err)
		}
	}
}

// End returns where the logs in dir end: a Read from there returns what is written next.
func End(dir string) (Position, error) {
	numbers, err := segments(dir)
	if err != nil || len(numbers) == 0 {
		return Position{}, err
	}
	last := numbers[len(numbers)-1]
	info, err := os.Stat(segmentPath(dir, last))
	if err != nil {
		return Position{}, fmt.Errorf("find the end of the log: %w", err)
	}
	return Position{Segment: last, Offset: info.Size()}, nil
}

// errStopped says that the consumer of a Seq wants no more, or that the logs were removed.
var errStopped = errors.New("stopped")

func read(ctx context.Context, dir string, o Options, yield func(Entry, error) bool) error {
	var f *follower
	if o.Follow {
		var err error
		if f, err = o.follow(dir); err != nil { // before the first look, so that nothing goes unnoticed
			return err
		}
		defer f.close()
	}
	r := reader{dir: dir, options: o, yield: yield}
	defer r.close()
	if err := r.seek(); err != nil {
		return err
	}
	for {
		done := f == nil || f.done()
		if err := r.drain(ctx); err != nil || done || r.passed {
			return err
		}
		if err := f.wait(ctx); err != nil {
			return err
		}
	}
}

func (o Options) follow(dir string) (*follower, error) {
	if o.Watcher != nil {
		return o.Watcher.follow(dir, o.Done)
	}
	w := &Watcher{}
	f, err := w.follow(dir, o.Done)
	if err != nil {
		return nil, errors.Join(err, w.Close())
	}
	f.alone = true
	return f, nil
}

// reader goes forward through the segments.
type reader struct {
	dir     string
	options Options
	yield   func(Entry, error) bool
	from    [3]Position // by stream: what lies before is not wanted

	file    *os.File
	at      Position // of the first byte of rest
	dropped uint64   // lines that were not there any more, and nobody was told of yet
	rest    []byte
	passed  bool // an entry came that is after Until
	sealed  bool // a later segment existed when this one was last looked at: it is complete
}

func (r *reader) close() {
	if r.file != nil {
		_ = r.file.Close()
	}
}

// drain yields all that is there.
func (r *reader) drain(ctx context.Context) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		e, at, err := r.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := r.emit(e, at); err != nil {
			return err
		}
	}
}

// emit yields an entry that is wanted. One after Until is not the last to look at: the clock may have been set back since.
func (r *reader) emit(e Entry, at Position) error {
	if !r.options.Until.IsZero() && e.Time.After(r.options.Until) {
		r.passed = true
		return nil
	}
	if at.Before(r.from[e.Stream]) || e.Time.Before(r.options.Since) {
		return nil
	}
	if !r.yield(e, nil) {
		return errStopped
	}
	return nil
}

// next returns the next entry that is output, or io.EOF when there is none yet.
func (r *reader) next() (Entry, Position, error) {
	for {
		e, at, err := r.record()
		switch {
		case err == nil && e.counts:
			continue
		case err == nil:
			e.Dropped, r.dropped = r.dropped, 0
			e.Next = r.at
			return e, at, nil
		case err != io.EOF:
			return Entry{}, Position{}, err
		}
		if err := r.advance(); err != nil {
			return Entry{}, Position{}, err
		}
	}
}

// record returns the next record of the present segment, or io.EOF when there is none yet.
func (r *reader) record() (Entry, Position, error) {
	for {
		e, skip, size, ok := firstRecord(r.rest)
		r.skip(skip)
		if ok {
			at := r.at
			r.skip(size)
			r.count(e)
			return e, at, nil
		}
		more, err := r.fill()
		if err != nil {
			return Entry{}, Position{}, err
		}
		if !more {
			return Entry{}, Position{}, io.EOF
		}
	}
}

// count follows the number of lines, and notices those that are gone.
func (r *reader) count(e Entry) {
	switch n := e.lines(); {
	case e.counts && n > r.at.Lines:
		r.dropped += n - r.at.Lines
		r.at.Lines = n
	case !e.counts && e.Begin:
		r.at.Lines++
	}
}

func (r *reader) skip(n int) {
	r.rest = r.rest[n:]
	r.at.Offset += int64(n)
}

// fill reads what follows rest, into a new block: entries keep the old one.
func (r *reader) fill() (bool, error) {
	if r.file == nil {
		return false, nil
	}
	info, err := r.file.Stat()
	if err != nil {
		return false, fmt.Errorf("read log: %w", err)
	}
	end := r.at.Offset + int64(len(r.rest))
	available := info.Size() - end
	if available <= 0 {
		return false, nil
	}
	block := make([]byte, len(r.rest)+int(min(available, blockSize)))
	have := copy(block, r.rest)
	n, err := r.file.ReadAt(block[have:], end)
	if err != nil && err != io.EOF {
		return false, fmt.Errorf("read log: %w", err)
	}
	r.rest = block[:have+n]
	return n > 0, nil
}

// advance is called at the end of a segment. When a later one exists, this one is complete: it is looked at once
// more, for what was written since the last look, and then left.
func (r *reader) advance() error {
	if len(r.rest) > 0 && (r.sealed || !r.options.Follow) {
		r.skip(1) // what looked like the start of a record is none: nobody writes the rest of it, or we do not wait
		return nil
	}
	removed := r.removed()
	later, ok, err := r.later()
	switch {
	case err != nil:
		return err
	case !ok && removed:
		return errStopped // the container was removed: rotation removes only what has a successor
	case !ok:
		return io.EOF
	}
	if r.file != nil && !r.sealed {
		r.sealed = true
		return nil
	}
	return r.open(Position{Segment: later, Lines: r.at.Lines})
}

// removed reports whether the segment is in no folder any more.
func (r *reader) removed() bool {
	if r.file == nil {
		return false
	}
	info, err := r.file.Stat()
	if err != nil {
		return false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && stat.Nlink == 0
}

// later finds the next segment. It need not be the next number: a slow reader may find some dropped.
func (r *reader) later() (uint64, bool, error) {
	numbers, err := segments(r.dir)
	for _, n := range numbers {
		if n > r.at.Segment {
			return n, true, err
		}
	}
	return 0, false, err
}

func (r *reader) open(at Position) error {
	f, err := os.Open(segmentPath(r.dir, at.Segment))
	if errors.Is(err, fs.ErrNotExist) {
		r.at = Position{Segment: at.Segment, Lines: at.Lines} // dropped: the next is sought from here
		r.close()
		r.file, r.rest, r.sealed = nil, nil, false
		return nil
	}
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	r.close()
	r.file, r.at, r.rest, r.sealed = f, at, nil, false
	return nil
}
