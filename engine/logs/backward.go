package logs

import (
	"fmt"
	"io"
	"os"
)

const blockSize = 64 << 10

// backward reads a segment's records from the last to the first, a block at a time.
type backward struct {
	file  *os.File
	end   int64  // everything from here on is read
	block []byte // what lies before end, as far as it is loaded
}

// previous returns the record before the last one returned, and where it lies. At the start of the segment it
// returns io.EOF.
func (b *backward) previous() (e Entry, start, end int64, err error) {
	for {
		base := b.end - int64(len(b.block))
		if e, s, n, ok := lastRecord(b.block); ok {
			b.block, b.end = b.block[:s], base+int64(s)
			return e, base + int64(s), base + int64(n), nil
		}
		if base == 0 {
			b.end, b.block = 0, nil
			return Entry{}, 0, 0, io.EOF
		}
		if err := b.load(base); err != nil {
			return Entry{}, 0, 0, err
		}
	}
}

// load reads the block before base, with as much after it as a record that crosses base can need.
func (b *backward) load(base int64) error {
	if len(b.block) > maxRecord {
		b.end = base + maxRecord
	}
	size := min(b.end, blockSize)
	b.block = make([]byte, size)
	if _, err := b.file.ReadAt(b.block, b.end-size); err != nil {
		return fmt.Errorf("read log: %w", err)
	}
	return nil
}
