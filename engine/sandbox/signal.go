package sandbox

import (
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"naru/naru"
)

// ParseSignal reads "KILL", "SIGKILL", "9" or "RTMIN+3".
func ParseSignal(s string) (unix.Signal, error) {
	if n, err := strconv.Atoi(s); err == nil && n > 0 && n <= 64 {
		return unix.Signal(n), nil
	}
	name := "SIG" + strings.TrimPrefix(strings.ToUpper(s), "SIG")
	if n := unix.SignalNum(name); n != 0 {
		return n, nil
	}
	const rtMin, rtMax = 34, 64 // as C libraries count them
	if rest, ok := strings.CutPrefix(name, "SIGRTMIN"); ok {
		if n, err := strconv.Atoi("0" + strings.TrimPrefix(rest, "+")); err == nil && rtMin+n <= rtMax {
			return unix.Signal(rtMin + n), nil
		}
	}
	if rest, ok := strings.CutPrefix(name, "SIGRTMAX"); ok {
		if n, err := strconv.Atoi("0" + strings.TrimPrefix(rest, "-")); err == nil && rtMax-n >= rtMin {
			return unix.Signal(rtMax - n), nil
		}
	}
	return 0, naru.Errorf(naru.InvalidArgument, "unknown signal %q: use a name like SIGTERM, or a number from 1 to 64", s)
}
