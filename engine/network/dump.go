package network

import (
	"errors"

	"github.com/vishvananda/netlink"
)

// dumpTries bounds how often a list is asked for that kept changing while the kernel told it.
const dumpTries = 20

// dump asks the kernel for a list again when it changed in the middle of the answer, as it does when another daemon, or
// a container beside this one, adds an interface at that moment. A list with gaps is never used.
func dump[T any](list func() (T, error)) (T, error) {
	for try := 1; ; try++ {
		got, err := list()
		if try == dumpTries || !errors.Is(err, netlink.ErrDumpInterrupted) {
			return got, err
		}
	}
}
