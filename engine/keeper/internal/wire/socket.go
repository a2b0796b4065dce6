package wire

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// SocketName is the keeper's socket within its folder.
const SocketName = "keeper.sock"

// ControlSize is the space that a packet's descriptors need beside it.
var ControlSize = unix.CmsgSpace(4 * MaxFiles)

// errTruncated says that the kernel dropped a part of a packet.
var errTruncated = errors.New("keeper packet too big")

// Descriptors takes the descriptors out of a packet's control data. On an error it has closed them.
func Descriptors(control []byte, flags int) ([]int, error) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return nil, fmt.Errorf("read descriptors: %w", err)
	}
	var all []int
	for _, m := range messages {
		fds, err := unix.ParseUnixRights(&m)
		if err != nil {
			continue // not descriptors: nobody asked for it
		}
		all = append(all, fds...)
	}
	if flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 {
		Close(all)
		return nil, errTruncated
	}
	return all, nil
}

// Close closes descriptors.
func Close(fds []int) {
	for _, fd := range fds {
		_ = unix.Close(fd) // nothing was written through it
	}
}
