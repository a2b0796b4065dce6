package network

import (
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// sysctls writes values below /proc/sys/net of the calling thread's network namespace. A procfs keeps the names that were
// looked up in it for each namespace apart, and finds one by looking at them all: beside a thousand namespaces, to open
// a file of a new one takes a millisecond. So this is a procfs of its own, changed for a fresh one in time.
type sysctls struct {
	mu   sync.Mutex
	proc *os.File // nil: none yet
	used int
}

// sysctlUses is how many values are written through one procfs.
const sysctlUses = 128

// set writes a value.
func (s *sysctls) set(path, value string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.write("sys/net/"+path, value); err != nil {
		return fmt.Errorf("set net.%s to %s: %w", path, value, err)
	}
	return nil
}

func (s *sysctls) write(path, value string) (err error) {
	if s.used == sysctlUses {
		s.drop()
	}
	if s.proc == nil {
		if s.proc, err = openProcfs(); err != nil {
			return err
		}
	}
	s.used++
	fd, err := unix.Openat(int(s.proc.Fd()), path, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	_, err = unix.Write(fd, []byte(value))
	return err
}

// close lets go of the procfs; set takes another.
func (s *sysctls) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop()
}

func (s *sysctls) drop() {
	if s.proc != nil {
		s.proc.Close()
	}
	s.proc, s.used = nil, 0
}

// openProcfs mounts a procfs that is nowhere to be seen. Who may not do so, as in another's namespace of pids, has to do
// with the one that is there.
func openProcfs() (*os.File, error) {
	fs, err := unix.Fsopen("proc", unix.FSOPEN_CLOEXEC)
	if err == nil {
		defer unix.Close(fs)
		err = unix.FsconfigCreate(fs)
	}
	var fd int
	if err == nil {
		fd, err = unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, 0)
	}
	if err != nil {
		return os.Open("/proc")
	}
	return os.NewFile(uintptr(fd), "proc"), nil
}
