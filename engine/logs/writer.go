package logs

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"time"
)

// Limits bound a container's logs. Zero fields take the defaults of DefaultLimits.
type Limits struct {
	Size  int64 // of one segment, about: it is left when an entry would not fit
	Files int   // segments kept
}

// DefaultLimits keeps 30 MB of logs a container.
var DefaultLimits = Limits{Size: 10 << 20, Files: 3}

func (l Limits) orDefault() Limits {
	if l.Size <= 0 {
		l.Size = DefaultLimits.Size
	}
	if l.Files <= 0 {
		l.Files = DefaultLimits.Files
	}
	return l
}

// Scratch is the space in which records are put together. The writers of one goroutine share one, so that a writer
// itself costs next to nothing.
type Scratch struct{ buf []byte }

const scratchSize = 64 << 10

// Writer appends to a container's logs. It is for one goroutine, and the only writer of its folder.
type Writer struct {
	dir     string
	limits  Limits
	scratch *Scratch
	file    *os.File
	number  uint64
	size    int64
	lines   uint64  // that began in all segments so far
	midLine [3]bool // by stream: its last entry did not end its line
}

// Open begins or goes on with the logs in dir, which it makes when it does not exist. A torn record at the end, left
// by a crash, is cut off.
func Open(dir string, limits Limits, scratch *Scratch) (*Writer, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make log folder: %w", err)
	}
	numbers, err := segments(dir)
	if err != nil {
		return nil, err
	}
	if scratch.buf == nil {
		scratch.buf = make([]byte, 0, scratchSize)
	}
	w := &Writer{dir: dir, limits: limits.orDefault(), scratch: scratch, number: 1}
	if len(numbers) > 0 {
		w.number = numbers[len(numbers)-1]
	}
	if err := w.openSegment(); err != nil {
		return nil, err
	}
	if err := w.recount(); err != nil {
		return nil, errorsClose(err, w.file)
	}
	return w, nil
}

// openSegment opens the segment that w.number names, behind its last whole record.
func (w *Writer) openSegment() error {
	f, err := os.OpenFile(segmentPath(w.dir, w.number), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	size, err := cutTorn(f)
	if err != nil {
		return fmt.Errorf("repair log: %w", errorsClose(err, f))
	}
	if w.file != nil {
		_ = w.file.Close() // all of it is written; there is nothing left that could fail
	}
	w.file, w.size = f, size
	return nil
}

// recount finds how many lines began so far, by what the last segment holds.
func (w *Writer) recount() error {
	r := reader{file: w.file, at: Position{Segment: w.number}}
	for {
		_, _, err := r.record()
		if err == io.EOF {
			w.lines = r.at.Lines
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func errorsClose(err error, c io.Closer) error {
	_ = c.Close()
	return err
}

// cutTorn truncates f behind its last whole record and returns that size.
func cutTorn(f *os.File) (int64, error) {
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return 0, err
	}
	back := backward{file: f, end: info.Size()}
	_, _, end, err := back.previous()
	if err != nil && err != io.EOF {
		return 0, err
	}
	if end == info.Size() {
		return end, nil
	}
	return end, f.Truncate(end)
}

// Append adds what a process wrote to s. On an error some of it is lost, but never half an entry.
func (w *Writer) Append(t time.Time, s Stream, data []byte) error {
	pending := w.scratch.buf[:0]
	for len(data) > 0 {
		n := entrySize(data)
		if err := w.makeRoom(&pending, overhead+n); err != nil {
			return err
		}
		if w.size == 0 && w.number > 1 && len(pending) == 0 {
			pending = appendRecord(pending, countOf(w.lines, t))
		}
		if !w.midLine[s] {
			w.lines++
		}
		pending = appendRecord(pending, Entry{Time: t, Stream: s, Begin: !w.midLine[s], Data: data[:n]})
		w.midLine[s] = data[n-1] != '\n'
		data = data[n:]
	}
	return w.flush(pending)
}

// entrySize is how much of data makes the next entry: up to the newline, at most MaxData.
func entrySize(data []byte) int {
	if len(data) > MaxData {
		data = data[:MaxData]
	}
	if i := bytes.IndexByte(data, '\n'); i >= 0 {
		return i + 1
	}
	return len(data)
}

// makeRoom flushes pending when n more bytes would not fit into it, and begins a new segment when they would not
// fit into the present one.
func (w *Writer) makeRoom(pending *[]byte, n int) error {
	full := w.size+int64(len(*pending)+n) > w.limits.Size && w.size+int64(len(*pending)) > 0
	if !full && len(*pending)+n <= scratchSize {
		return nil
	}
	if err := w.flush(*pending); err != nil {
		return err
	}
	*pending = (*pending)[:0]
	if full {
		return w.rotate()
	}
	return nil
}

// flush writes whole records. If the disk takes only a part of them, that part is taken back, so that what follows
// is not behind a torn record.
func (w *Writer) flush(records []byte) error {
	if len(records) == 0 {
		return nil
	}
	if _, err := w.file.Write(records); err != nil {
		_ = w.file.Truncate(w.size) // if this fails too, readers find the next record by its checksum
		return fmt.Errorf("write log: %w", err)
	}
	w.size += int64(len(records))
	return nil
}

func (w *Writer) rotate() error {
	w.number++
	if err := w.openSegment(); err != nil {
		w.number--
		return err
	}
	numbers, err := segments(w.dir)
	if err != nil {
		return err
	}
	for _, n := range numbers[:max(0, len(numbers)-w.limits.Files)] {
		if err := os.Remove(segmentPath(w.dir, n)); err != nil {
			return fmt.Errorf("drop old log: %w", err)
		}
	}
	return nil
}

// Close ends the writing; the logs stay.
func (w *Writer) Close() error { return w.file.Close() }
