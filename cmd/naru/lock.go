//go:build !front

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"naru/naru"
)

// lockFolder makes the folder and takes it for this process alone until the program ends, however it ends. The lock
// file holds the pid, for people and scripts.
func lockFolder(dir, file string, mode os.FileMode) (*os.File, error) {
	if err := makeFolder(dir, mode); err != nil {
		return nil, fmt.Errorf("make folder: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, file), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	if err := lockFile(f, dir); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// lockPatience bounds the wait for a lock whose daemon is dead: a process that it was just forking when it was killed has
// its descriptors for a moment more.
const lockPatience = 5 * time.Second

func lockFile(f *os.File, dir string) error {
	err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	for began := time.Now(); errors.Is(err, unix.EWOULDBLOCK) && !lives(holderOf(f)) && time.Since(began) < lockPatience; {
		time.Sleep(5 * time.Millisecond)
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	}
	if errors.Is(err, unix.EWOULDBLOCK) {
		return naru.Errorf(naru.Conflict, "another naru daemon (pid %d) uses %s: stop it, or give this one other folders with --data and --run", holderOf(f), dir)
	}
	if err != nil {
		return fmt.Errorf("lock %s: %w", dir, err)
	}
	if err := f.Truncate(0); err != nil {
		return fmt.Errorf("write the pid: %w", err)
	}
	if _, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0); err != nil {
		return fmt.Errorf("write the pid: %w", err)
	}
	return nil
}

// holderOf reads the pid that a lock file holds; zero when it does not hold one.
func holderOf(f *os.File) int {
	b := make([]byte, 16)
	n, _ := f.ReadAt(b, 0) // at the end of the file, which is short
	pid, err := strconv.Atoi(strings.TrimSpace(string(b[:n])))
	if err != nil {
		return 0
	}
	return pid
}

func lives(pid int) bool { return pid > 0 && unix.Kill(pid, 0) == nil }

// makeFolder makes the folder, and takes from one that is there already what mode does not give. Nobody but root may
// pass through the data folder: containers leave setuid files below it, with the ids of their image, and what is in the
// database is not for everybody.
func makeFolder(dir string, mode os.FileMode) error {
	if err := os.MkdirAll(dir, mode); err != nil {
		return err
	}
	st, err := os.Stat(dir)
	if err != nil || st.Mode().Perm()&^mode == 0 {
		return err
	}
	return os.Chmod(dir, st.Mode().Perm()&mode)
}
