package logs

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"time"
)

// A record is one Entry on disk, all numbers little-endian:
//
//	 0  1  marker 0xA0 | flags
//	 1  2  size of the data, at most MaxData
//	 3  8  time, nanoseconds since 1970
//	11  n  data
//	    4  CRC-32C of everything before
//	    2  size of the whole record
//
// A segment that is not the first begins with a record of another kind, which is no output: its data says how many lines
// began in the segments before. So whoever comes back after a while knows how many are gone.
//
// The size at the end lets tail walk backwards without an index. The checksum tells a record from the torn piece of
// one, and from data that happens to look like one, so that a reader finds its way again after damage.
const (
	// MaxData is the most data one entry holds; a longer line comes as several entries.
	MaxData = 16 << 10

	headSize   = 1 + 2 + 8
	footSize   = 4 + 2
	overhead   = headSize + footSize
	maxRecord  = MaxData + overhead
	marker     = 0xA0
	markerMask = 0xF0
	flagStderr = 0x01
	flagBegin  = 0x02
	flagLines  = 0x04 // the data is a number of lines
	allFlags   = flagStderr | flagBegin | flagLines
)

// Stream is where a process wrote an entry.
type Stream uint8

// The streams, numbered as their descriptors are.
const (
	Stdout Stream = 1
	Stderr Stream = 2
)

func (s Stream) String() string {
	switch s {
	case Stdout:
		return "stdout"
	case Stderr:
		return "stderr"
	}
	return "unknown stream"
}

// Entry is a line, or a piece of one, as the process wrote it.
type Entry struct {
	Time   time.Time
	Stream Stream
	Begin  bool   // it begins a line; otherwise it goes on with the stream's previous entry
	Data   []byte // with its newline; without one the line goes on, or the stream ended

	Dropped uint64   // lines before it that the limits took from the disk before they were read; only of a Read without Tail
	Next    Position // where a Read goes on after it

	counts bool // it is no output, but says how many lines came before
}

// countOf is the entry that says how many lines came before.
func countOf(lines uint64, t time.Time) Entry {
	return Entry{Time: t, Stream: Stdout, Data: binary.LittleEndian.AppendUint64(nil, lines), counts: true}
}

// lines is what an entry that counts says; damage that its checksum does not show is no count.
func (e Entry) lines() uint64 {
	if len(e.Data) != 8 {
		return 0
	}
	return binary.LittleEndian.Uint64(e.Data)
}

// Position is a place in a container's logs between two entries.
type Position struct {
	Segment uint64 `json:"segment"` // its number; zero: the beginning
	Offset  int64  `json:"offset"`
	Lines   uint64 `json:"lines"` // that began before it, since the container's first
}

// Before reports whether p lies before q.
func (p Position) Before(q Position) bool {
	return p.Segment < q.Segment || p.Segment == q.Segment && p.Offset < q.Offset
}

// End reports whether the entry ends its line.
func (e Entry) End() bool { return len(e.Data) > 0 && e.Data[len(e.Data)-1] == '\n' }

var (
	errDamaged = errors.New("damaged log record") // no record begins here
	errShort   = errors.New("short log record")   // one may begin here, but it is not all there
)

func appendRecord(b []byte, e Entry) []byte {
	start := len(b)
	b = append(b, marker|e.flags())
	b = binary.LittleEndian.AppendUint16(b, uint16(len(e.Data)))
	b = binary.LittleEndian.AppendUint64(b, uint64(e.Time.UnixNano()))
	b = append(b, e.Data...)
	b = binary.LittleEndian.AppendUint32(b, checksum(b[start:]))
	return binary.LittleEndian.AppendUint16(b, uint16(overhead+len(e.Data)))
}

func (e Entry) flags() (f byte) {
	if e.Stream == Stderr {
		f |= flagStderr
	}
	if e.Begin {
		f |= flagBegin
	}
	if e.counts {
		f |= flagLines
	}
	return f
}

func checksum(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

// decodeRecord reads the record at the start of b and its size. The entry's data is a part of b.
func decodeRecord(b []byte) (Entry, int, error) {
	size, err := recordSize(b)
	if err != nil {
		return Entry{}, 0, err
	}
	if len(b) < size {
		return Entry{}, 0, errShort
	}
	foot := size - footSize
	sum := binary.LittleEndian.Uint32(b[foot:])
	if int(binary.LittleEndian.Uint16(b[size-2:])) != size || sum != checksum(b[:foot]) {
		return Entry{}, 0, errDamaged
	}
	return decodeEntry(b[:foot]), size, nil
}

// recordSize reads the size of the record at the start of b from as much of its head as is there.
func recordSize(b []byte) (int, error) {
	if len(b) > 0 && (b[0]&markerMask != marker || b[0]&^(markerMask|allFlags) != 0) {
		return 0, errDamaged
	}
	if len(b) < headSize {
		return 0, errShort
	}
	data := int(binary.LittleEndian.Uint16(b[1:]))
	if data == 0 || data > MaxData {
		return 0, errDamaged
	}
	return overhead + data, nil
}

func decodeEntry(b []byte) Entry {
	e := Entry{
		Time:   time.Unix(0, int64(binary.LittleEndian.Uint64(b[3:]))),
		Stream: Stdout,
		Begin:  b[0]&flagBegin != 0,
		counts: b[0]&flagLines != 0,
		Data:   b[headSize:len(b):len(b)],
	}
	if b[0]&flagStderr != 0 {
		e.Stream = Stderr
	}
	return e
}

// firstRecord finds the first whole record in b. Without one, skip is how much of b holds none for sure: what
// follows may be the start of one that is still being written.
func firstRecord(b []byte) (e Entry, skip, size int, ok bool) {
	for skip = 0; skip < len(b); skip++ {
		e, size, err := decodeRecord(b[skip:])
		if err == nil {
			return e, skip, size, true
		}
		if err == errShort {
			return Entry{}, skip, 0, false
		}
	}
	return Entry{}, skip, 0, false
}

// lastRecord finds the last whole record in b, and where in b it lies.
func lastRecord(b []byte) (e Entry, start, end int, ok bool) {
	for end = len(b); end >= overhead; end-- {
		size := int(binary.LittleEndian.Uint16(b[end-2:]))
		if size < overhead || size > end {
			continue
		}
		if e, n, err := decodeRecord(b[end-size : end]); err == nil && n == size {
			return e, end - size, end, true
		}
	}
	return Entry{}, 0, 0, false
}
