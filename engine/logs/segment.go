package logs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// A folder holds segments 00000001.log, 00000002.log, … Only the last one grows, and the writer makes a new one only
// when it has finished the one before: a segment with a successor is complete. Nothing is ever renamed.
const suffix = ".log"

func segmentPath(dir string, number uint64) string {
	return filepath.Join(dir, fmt.Sprintf("%08d%s", number, suffix))
}

// segments lists the numbers of dir's segments, oldest first; a folder that does not exist has none.
func segments(dir string) ([]uint64, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list logs: %w", err)
	}
	var numbers []uint64
	for _, entry := range entries {
		if n, ok := segmentNumber(entry.Name()); ok {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	return numbers, nil
}

func segmentNumber(name string) (uint64, bool) {
	digits, ok := strings.CutSuffix(name, suffix)
	if !ok || len(digits) < 8 {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	return n, err == nil && n > 0
}

// Grown reports whether there may be more in dir than was there at a position, by a glance at the files' sizes.
func Grown(dir string, since Position) bool {
	info, err := os.Stat(segmentPath(dir, max(since.Segment, 1)))
	if err != nil || info.Size() > since.Offset {
		return true
	}
	_, err = os.Stat(segmentPath(dir, since.Segment+1))
	return err == nil
}
