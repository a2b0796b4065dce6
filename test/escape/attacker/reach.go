package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// descriptors looks for one above 2 that somebody left open, and at 0, 1 and 2 for a way to a folder.
func descriptors([]string) finding {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return saw(untried, "%v", err)
	}
	var seen []string
	for _, e := range entries {
		fd, _ := strconv.Atoi(e.Name())
		link, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err != nil || fd > 2 && ours(link) {
			continue
		}
		if fd > 2 || strings.HasPrefix(link, "/") && !strings.HasPrefix(link, "/dev/") {
			return saw(escaped, "descriptor %d is %s", fd, link)
		}
		seen = append(seen, link)
	}
	return saw(held, "has only %s", strings.Join(seen, ", "))
}

// ours tells what Go's runtime and this program opened themselves.
func ours(link string) bool {
	return strings.HasPrefix(link, "anon_inode:[event") || strings.HasPrefix(link, "/sys/fs/cgroup/") || strings.HasSuffix(link, "/fd") ||
		strings.HasPrefix(link, "/sys/kernel/mm/")
}

// hostFile looks for a file of the host, args[0], by every way that has ever led there; args after it are folders to
// start from too.
func hostFile(args []string) finding {
	flag, starts := args[0], append([]string{"/", ".", "/proc/self/root", "/proc/1/root", "/proc/self/cwd", "/proc/1/cwd"}, args[1:]...)
	for fd := range 20 {
		starts = append(starts, fmt.Sprintf("/proc/self/fd/%d", fd), fmt.Sprintf("/proc/1/fd/%d", fd))
	}
	up := strings.Repeat("/..", 24)
	for _, start := range starts {
		for _, path := range []string{start + flag, start + up + flag} {
			if _, err := os.ReadFile(path); err == nil {
				return saw(escaped, "%s can be read", path)
			}
		}
	}
	if cwd, err := os.Getwd(); err == nil && !strings.HasPrefix(cwd, "/") {
		return saw(escaped, "the working directory is %s", cwd)
	}
	if err := breakChroot(flag); err == nil {
		return saw(escaped, "a chroot in a chroot leads out")
	}
	return saw(held, "none of %d ways leads to %s", len(starts)*2+1, flag)
}

// breakChroot is the oldest way out: keep a folder open, chroot below it, and climb.
func breakChroot(flag string) error {
	old, err := unix.Open("/", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("/tmp", "c")
	if err != nil {
		return err
	}
	defer tidy(dir)
	root := unix.Chroot(dir)
	if root != nil {
		return root
	}
	defer func() { _ = errors.Join(unix.Fchdir(old), unix.Chroot(".")) }() // this process is at its end anyhow
	if err := unix.Fchdir(old); err != nil {
		return err
	}
	_, err = os.ReadFile(strings.Repeat("../", 24) + flag[1:])
	return err
}

// terminal looks for a terminal of the host's, into which it could push input (TIOCSTI). args[0] is the number of the
// filesystem that the host's terminals lie in.
func terminal(args []string) finding {
	for fd := range 3 {
		var st unix.Stat_t
		if _, err := unix.IoctlGetTermios(fd, unix.TCGETS); err != nil || unix.Fstat(fd, &st) != nil {
			continue
		}
		if fmt.Sprint(st.Dev) == args[0] {
			return saw(escaped, "descriptor %d is a terminal of the host", fd)
		}
		return saw(held, "descriptor %d is a terminal of the container's own", fd)
	}
	if fd, err := unix.Open("/dev/tty", unix.O_RDWR|unix.O_NOCTTY, 0); err == nil {
		unix.Close(fd)
		return saw(escaped, "/dev/tty is a terminal, and none was given")
	}
	return saw(held, "no terminal at all")
}

// sysv looks for a System V shared memory segment of the host's, args[0] is its key.
func sysv(args []string) finding {
	key, err := strconv.Atoi(args[0])
	if err != nil {
		return saw(untried, "%v", err)
	}
	if _, err = unix.SysvShmGet(key, 0, 0); err != nil {
		return saw(held, "shmget: %v", err)
	}
	return saw(escaped, "found the host's shared memory")
}

// signal tries to end processes of the host by their pids. Pid 0 would mean ourselves, and is never given.
func signal(args []string) finding {
	for _, arg := range args {
		pid, err := strconv.Atoi(arg)
		if err != nil || pid <= 1 {
			return saw(untried, "pid %q", arg)
		}
		if _, err := unix.PidfdOpen(pid, 0); err == nil {
			return saw(escaped, "process %d is in sight", pid)
		}
		if err := unix.Kill(pid, unix.SIGTERM); err == nil {
			return saw(escaped, "signalled process %d", pid)
		}
	}
	return saw(held, "no process of the host is in sight")
}

// ptraceInit goes for process 1 of the container, as another user.
func ptraceInit([]string) finding {
	if err := unix.PtraceSeize(1); err == nil {
		return saw(escaped, "traces process 1")
	}
	for _, file := range []string{"mem", "environ"} {
		if f, err := os.OpenFile("/proc/1/"+file, os.O_RDONLY, 0); err == nil {
			f.Close()
			return saw(escaped, "/proc/1/%s is open", file)
		}
	}
	if links, err := filepath.Glob("/proc/1/fd/*"); err == nil && len(links) > 0 {
		return saw(escaped, "/proc/1/fd shows %d descriptors", len(links))
	}
	return saw(held, "process 1 can be neither traced nor looked into")
}
