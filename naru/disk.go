package naru

import (
	"maps"
	"slices"
	"strconv"
)

// DiskLimit bounds what a folder may hold of a disk; zero means no limit.
type DiskLimit struct {
	Bytes  int64 `json:"bytes,omitempty"`
	Inodes int64 `json:"inodes,omitempty"` // files, folders and links; zero where Bytes is not: one for each 4 KiB
}

// ParseDiskLimit reads the options by which Docker's users limit a volume or what a container writes: size, which is
// read by parseSize, and beside it inodes.
func ParseDiskLimit(options map[string]string, parseSize func(string) (int64, error)) (DiskLimit, error) {
	var l DiskLimit
	for _, key := range slices.Sorted(maps.Keys(options)) {
		value, field := options[key], &l.Bytes
		parse := parseSize
		switch key {
		case "size":
		case "inodes":
			field, parse = &l.Inodes, func(s string) (int64, error) { return strconv.ParseInt(s, 10, 64) }
		default:
			return l, Errorf(InvalidArgument, "naru knows the options size and inodes, not %q", key)
		}
		n, err := parse(value)
		if err != nil || n <= 0 {
			return l, Errorf(InvalidArgument, "%s %q: write it as in size=512m or inodes=100000", key, value)
		}
		*field = n
	}
	return l, nil
}
