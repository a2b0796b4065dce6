// Package fork starts one process in new namespaces, or in those of a running process, and hands it back as a pid and
// a pidfd that its caller reaps. It owns the moments between fork and exec, where a Go program may only make raw
// system calls, and can have package bare make a container ready in them. It serves the keeper and the sandbox's Local
// spawner alike.
package fork

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// IDMap says that Size ids from ContainerID on, inside a user namespace, are the ids from HostID on outside.
type IDMap struct {
	ContainerID, HostID, Size int
}

// Join is a pidfd, or a namespace file, whose Flags (CLONE_NEW*) namespaces are to be entered (setns).
type Join struct {
	File  *os.File
	Flags uintptr
}

// Cmd is a process to start in new namespaces or in those of a running process.
type Cmd struct {
	Exe        *os.File // ELF to execute by descriptor; a sealed memfd, see Seal
	Args, Env  []string
	Files      []*os.File // become descriptors 0, 1, 2, …; a nil one is /dev/null
	Namespaces uintptr    // CLONE_NEW* flags to create
	UIDMap     []IDMap    // written by the parent before the process runs; for CLONE_NEWUSER
	GIDMap     []IDMap
	// MapIDs maps the ids instead, where this process may not do it alone.
	MapIDs func(pid int) error

	// Joins are entered first, a user namespace after those that the starter may enter by itself. With Namespaces set
	// too, those are created after: a new container in another's network, say.
	Joins []Join

	CgroupFD int        // cgroup v2 folder to be born in (CLONE_INTO_CGROUP); 0 or -1: the parent's
	Cgroups  []*os.File // cgroup v1 "tasks" files, open for writing, that the process enters first, before any namespace

	// Bare has the child execute the program that comes over its descriptor program.SocketFD at once, without Exe, which
	// only a reaper then takes. It must be one that bare.Fits. Until its own exec it runs this process's executable: where
	// others can see that, it must be a sealed one.
	Bare bool

	Setsid         bool
	KillWithParent bool // SIGKILL when the starting thread dies (builds); never for the keeper
}

// Process is a started process. The caller reaps it (wait4 or waitid) and closes FD.
type Process struct {
	PID int
	FD  *os.File // pidfd
}

// Start starts cmd and returns when it has executed Exe, or begins with its program, or with the step that failed. It does not leave a process,
// or a zombie, behind when it fails.
func Start(cmd Cmd) (Process, error) {
	if err := cmd.check(); err != nil {
		return Process{}, err
	}
	b, err := newBirth(cmd)
	if err != nil {
		return Process{}, fmt.Errorf("prepare to fork: %w", err)
	}
	defer b.close()
	if err := b.fork(); err != nil {
		return Process{}, err
	}
	p, err := b.attend()
	if err != nil {
		b.bury()
		return Process{}, err
	}
	return p, nil
}

func (c *Cmd) check() error {
	switch {
	case c.Exe == nil && !c.Bare:
		return errors.New("fork: no executable")
	case len(c.Args) == 0:
		return errors.New("fork: no arguments")
	case slices.ContainsFunc(c.Joins, func(j Join) bool { return j.File == nil }):
		return errors.New("fork: a namespace to join without a file")
	case c.Namespaces&unix.CLONE_NEWUSER == 0 && (len(c.UIDMap) > 0 || len(c.GIDMap) > 0):
		return errors.New("fork: id maps without a new user namespace")
	}
	return nil
}

// Seal copies an ELF into a sealed memfd: nobody can change what runs. With mode 0111 anyone may execute it and nobody
// may read it, and the kernel keeps such a process undumpable, so that a neighbour in its namespaces cannot look into
// it between exec and the moment it drops its rights.
func Seal(name string, elf io.Reader, mode os.FileMode) (*os.File, error) {
	fd, err := memfd(name)
	if err != nil {
		return nil, fmt.Errorf("create a memfd: %w", err)
	}
	f := os.NewFile(uintptr(fd), name)
	if err := fillAndSeal(f, elf, mode); err != nil {
		f.Close()
		return nil, fmt.Errorf("seal %s: %w", name, err)
	}
	return f, nil
}

// memfd asks for an executable memfd; kernels before 6.3 do not know the flag and make them executable anyway.
func memfd(name string) (int, error) {
	const flags = unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	fd, err := unix.MemfdCreate(name, flags|unix.MFD_EXEC)
	if errors.Is(err, unix.EINVAL) {
		return unix.MemfdCreate(name, flags)
	}
	return fd, err
}

func fillAndSeal(f *os.File, elf io.Reader, mode os.FileMode) error {
	if _, err := io.Copy(f, elf); err != nil {
		return err
	}
	if err := f.Chmod(mode); err != nil {
		return err
	}
	const seals = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE
	_, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, seals)
	return err
}

// formatIDMap renders maps as /proc/PID/uid_map wants them.
func formatIDMap(maps []IDMap) []byte {
	var b []byte
	for _, m := range maps {
		b = strconv.AppendInt(b, int64(m.ContainerID), 10)
		b = append(b, ' ')
		b = strconv.AppendInt(b, int64(m.HostID), 10)
		b = append(b, ' ')
		b = strconv.AppendInt(b, int64(m.Size), 10)
		b = append(b, '\n')
	}
	return b
}
