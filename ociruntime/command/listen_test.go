package command

import (
	"os"
	"strconv"
	"testing"
)

// Sockets that were opened for another process, as those of a unit are that runs naru by a script, are none of the container's.
func TestListenFDs(t *testing.T) {
	for _, c := range []struct {
		fds, pid string
		want     int
	}{
		{"2", strconv.Itoa(os.Getpid()), 2}, {"2", "1", 0}, {"2", "", 0}, {"", strconv.Itoa(os.Getpid()), 0}, {"-1", strconv.Itoa(os.Getpid()), 0},
		{"x", strconv.Itoa(os.Getpid()), 0},
	} {
		t.Setenv("LISTEN_FDS", c.fds)
		t.Setenv("LISTEN_PID", c.pid)
		if got := listenFDs(); got != c.want {
			t.Errorf("LISTEN_FDS=%s LISTEN_PID=%s: %d, want %d", c.fds, c.pid, got, c.want)
		}
	}
}
