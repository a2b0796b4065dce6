package logs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
)

// seek finds where the reader begins: each stream at the first of the last Tail lines that is its own.
func (r *reader) seek() error {
	if r.options.Tail == 0 {
		return r.resume()
	}
	numbers, err := segments(r.dir)
	if err != nil {
		return err
	}
	t := tail{want: max(r.options.Tail, 0), options: r.options}
	for _, n := range slices.Backward(numbers) {
		if err := t.segment(r.dir, n); err != nil {
			return err
		}
		if t.full() {
			break
		}
	}
	r.from = t.from
	return r.open(t.first())
}

// resume begins where an earlier Read has come to. What a power cut took from behind it is gone, and what is written in
// its place is new.
func (r *reader) resume() error {
	if r.options.From.Segment == 0 {
		return nil
	}
	if err := r.open(r.options.From); err != nil || r.file == nil {
		return err
	}
	info, err := r.file.Stat()
	if err != nil {
		return fmt.Errorf("read log: %w", err)
	}
	r.at.Offset = min(r.at.Offset, info.Size())
	return nil
}

// tail counts lines backwards. The lines of the two streams lie between one another, and a line can be several
// entries, so each stream has its own start.
type tail struct {
	want    int
	options Options
	lines   int
	open    [3]bool // by stream: a piece of a counted line was seen, but not its begin
	from    [3]Position
	end     Position // where the walk began: nothing is wanted before, of a stream without a counted line
}

// segment walks segment n from its end.
func (t *tail) segment(dir string, n uint64) error {
	f, err := os.Open(segmentPath(dir, n))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // the writer dropped it just now
	}
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("read log: %w", err)
	}
	t.begin(Position{Segment: n, Offset: info.Size()})
	return t.walk(n, &backward{file: f, end: info.Size()})
}

// begin notes where the walk begins.
func (t *tail) begin(end Position) {
	if t.end == (Position{}) {
		t.end = end
		t.from[Stdout], t.from[Stderr] = end, end
	}
}

func (t *tail) walk(segment uint64, back *backward) error {
	for !t.full() {
		e, start, _, err := back.previous()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if e.counts {
			continue
		}
		if t.options.Until.IsZero() || !e.Time.After(t.options.Until) {
			t.count(e, Position{Segment: segment, Offset: start})
		}
	}
	return nil
}

// count takes the entry before the ones it took already.
func (t *tail) count(e Entry, at Position) {
	if !t.open[e.Stream] {
		if t.lines == t.want {
			return
		}
		t.lines++
	}
	t.from[e.Stream] = at
	t.open[e.Stream] = !e.Begin
}

// full reports whether all wanted lines are found, from their begins.
func (t *tail) full() bool {
	return t.lines == t.want && !t.open[Stdout] && !t.open[Stderr] && t.end != Position{}
}

// first is the earliest place that is wanted.
func (t *tail) first() Position {
	if t.from[Stderr].Before(t.from[Stdout]) {
		return t.from[Stderr]
	}
	return t.from[Stdout]
}
