package main

import (
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// forks makes args[0] children that do nothing, and is bounded by that: every child dies with its parent.
func forks(args []string) finding {
	want, _ := strconv.Atoi(args[0])
	var children []int
	defer func() {
		for _, pid := range children {
			_ = unix.Kill(pid, unix.SIGKILL) // it may have died already
		}
	}()
	for len(children) < want {
		pid, err := idleChild()
		if err != nil {
			return saw(held, "%v after %d children", err, len(children))
		}
		children = append(children, pid)
	}
	return saw(escaped, "made all %d children", want)
}

// idleChild forks a child that makes nothing but raw system calls: it is a copy of one thread of a Go program.
func idleChild() (int, error) {
	pid, _, e := unix.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	if e != 0 {
		return 0, e
	}
	if pid == 0 {
		_, _, _ = unix.RawSyscall(unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0) // nobody to tell here
		for {
			_, _, _ = unix.RawSyscall6(unix.SYS_PPOLL, 0, 0, 0, 0, 0, 0)
		}
	}
	return int(pid), nil
}

// memory touches args[0] MiB.
func memory(args []string) finding {
	mib, _ := strconv.Atoi(args[0])
	block, err := unix.Mmap(-1, 0, mib<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return saw(held, "mmap: %v", err)
	}
	for i := 0; i < len(block); i += os.Getpagesize() {
		block[i] = 1
	}
	return saw(escaped, "touched %d MiB", mib)
}

// fill writes args[1] MiB into the folder args[0].
func fill(args []string) finding {
	mib, _ := strconv.Atoi(args[1])
	path := filepath.Join(args[0], "fill")
	f, err := os.Create(path)
	if err != nil {
		return saw(untried, "%v", err)
	}
	defer tidy(path)
	defer f.Close()
	block := make([]byte, 1<<20)
	for i := range mib {
		if _, err := f.Write(block); err != nil {
			return full(err, "%d MiB in %s", i, args[0])
		}
	}
	return saw(escaped, "wrote %d MiB to %s", mib, args[0])
}
