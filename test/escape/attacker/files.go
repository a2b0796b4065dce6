package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// opens tries to open files of the kernel for writing; what is open is not written to.
func opens(paths ...string) attack {
	return func([]string) finding {
		var last error
		for _, path := range paths {
			fd, err := unix.Open(path, unix.O_WRONLY|unix.O_NONBLOCK, 0)
			if err == nil && !ofKernel(fd) {
				err = unix.EACCES // something harmless lies over it
			}
			if err == nil {
				return saw(escaped, "%s is open for writing", path)
			}
			if last == nil || !errors.Is(err, unix.ENOENT) {
				last = err
			}
		}
		if errors.Is(last, unix.ENOENT) {
			return saw(untried, "this kernel has no %s", strings.Join(paths, ", "))
		}
		return saw(held, "%v", last)
	}
}

// ofKernel tells a file of the kernel's own filesystems from what may lie over it.
func ofKernel(fd int) bool {
	var st unix.Statfs_t
	if err := unix.Fstatfs(fd, &st); err != nil {
		return false
	}
	switch st.Type {
	case unix.PROC_SUPER_MAGIC, unix.SYSFS_MAGIC, unix.CGROUP_SUPER_MAGIC, unix.CGROUP2_SUPER_MAGIC:
		return true
	}
	return false
}

// reads tries to read a byte that the kernel keeps for root.
func reads(path string) attack {
	return func([]string) finding {
		f, err := os.Open(path)
		if err != nil {
			return saw(held, "%v", err)
		}
		defer f.Close()
		n, err := f.Read(make([]byte, 1))
		if n == 0 {
			return saw(held, "%s is empty: %v", path, err)
		}
		return saw(escaped, "%s can be read", path)
	}
}

// masked reads everything that Docker hides.
func masked([]string) finding {
	for _, path := range maskedPaths() {
		st, err := os.Stat(path)
		if err != nil {
			continue
		}
		if st.IsDir() {
			if names, _ := os.ReadDir(path); len(names) > 0 {
				return saw(escaped, "%s shows %s", path, names[0].Name())
			}
			continue
		}
		if f := reads(path)(nil); f.verdict == escaped {
			return f
		}
	}
	return saw(held, "all that is masked is empty")
}

// kallsyms looks for the address of anything in the kernel.
func kallsyms([]string) finding {
	text, err := os.ReadFile("/proc/kallsyms")
	if err != nil {
		return saw(held, "%v", err)
	}
	for line := range strings.Lines(string(text)) {
		if address, _, _ := strings.Cut(line, " "); strings.Trim(address, "0") != "" {
			return saw(escaped, "/proc/kallsyms has addresses")
		}
	}
	return saw(held, "every address in /proc/kallsyms is 0")
}

// writable looks for one file below the folders that can be opened for writing.
func writable(dirs ...string) attack {
	return func([]string) finding {
		tried, found := 0, ""
		for _, dir := range dirs {
			_ = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
				if err != nil || !e.Type().IsRegular() || strings.Contains(path, "/tracing/") || strings.Contains(path, "/debug/") {
					return nil // what cannot be looked at is no way out; trace files act when opened
				}
				tried++
				fd, err := unix.Open(path, unix.O_WRONLY|unix.O_NONBLOCK, 0)
				if err != nil {
					return nil
				}
				defer unix.Close(fd)
				if !ofKernel(fd) {
					return nil
				}
				found = path
				return filepath.SkipAll
			})
		}
		if found != "" {
			return saw(escaped, "%s is open for writing", found)
		}
		return saw(held, "none of %d files below %s can be opened for writing", tried, strings.Join(dirs, ", "))
	}
}

// cgroupWrite looks for a file of the cgroups that could be written: release_agent, tasks, limits, devices.
func cgroupWrite([]string) finding { return writable("/sys/fs/cgroup")(nil) }

// mounts mounts a filesystem on a folder of its own.
func mounts(kind, source, data string) attack {
	return func([]string) finding {
		dir, err := os.MkdirTemp("/tmp", "m")
		if err != nil {
			return saw(untried, "%v", err)
		}
		err = unix.Mount(source, dir, kind, 0, data)
		tidy(dir)
		if errors.Is(err, unix.ENODEV) {
			return saw(untried, "this kernel has no %s", kind)
		}
		return called("mount of "+kind, err)
	}
}

// tidy removes what an attack made, with what it mounted there. An attacker does not care whether that worked; on the
// host its mount namespace is gone soon.
func tidy(path string) {
	_ = unix.Unmount(path, unix.MNT_DETACH)
	_ = os.Remove(path)
}

func bindMount([]string) finding {
	dir, err := os.MkdirTemp("/tmp", "m")
	if err != nil {
		return saw(untried, "%v", err)
	}
	defer tidy(dir)
	err = unix.Mount("/proc", dir, "", unix.MS_BIND, "")
	return called("bind of /proc", err)
}

// fsopen mounts by the newer calls, which a filter could have forgotten.
func fsopen([]string) finding {
	fd, err := unix.Fsopen("tmpfs", 0)
	if err == nil {
		unix.Close(fd)
		return saw(escaped, "fsopen succeeded")
	}
	fd, err = unix.OpenTree(unix.AT_FDCWD, "/", unix.OPEN_TREE_CLONE)
	if err == nil {
		unix.Close(fd)
	}
	return called("open_tree", err)
}

// remount makes what is read-only writable again.
func remount([]string) finding {
	err := unix.Mount("", "/proc/sys", "", unix.MS_REMOUNT|unix.MS_BIND, "")
	if errors.Is(err, unix.EINVAL) { // no mount point, where nothing protects it: a mount of our own shows the right
		return bindMount(nil)
	}
	return called("remount of /proc/sys", err)
}

// unmask takes away what lies over a masked path.
func unmask([]string) finding {
	err := unix.Unmount("/proc/kcore", unix.MNT_DETACH)
	return called("unmount of /proc/kcore", err) // EINVAL for who may, where nothing lies over it
}

// releaseAgent is CVE-2022-0492: a cgroup mount inside a user namespace, whose release_agent the kernel runs as root.
func releaseAgent([]string) finding {
	for _, flags := range []uintptr{unix.CLONE_NEWNS, unix.CLONE_NEWNS | unix.CLONE_NEWUSER | unix.CLONE_NEWCGROUP} {
		if err := runIn(flags, "mount-cgroup"); err == nil {
			return saw(escaped, "a mount namespace to mount cgroups in was made")
		}
	}
	matches, _ := filepath.Glob("/sys/fs/cgroup/*/release_agent")
	for _, path := range matches {
		if f := opens(path)(nil); f.verdict == escaped {
			return f
		}
	}
	return saw(held, "no namespace to mount cgroups in, %d release_agent files in sight", len(matches))
}

// mknodBlock makes nodes for the machine's disks and reads from them.
func mknodBlock([]string) finding {
	entries, _ := os.ReadDir("/sys/dev/block")
	if len(entries) == 0 {
		entries, _ = os.ReadDir("/sys/class/block")
	}
	last := error(unix.ENODEV)
	for _, e := range entries {
		major, minor, ok := numbers(e.Name())
		if !ok || major == 7 || major == 1 { // loop devices and ramdisks may be empty
			continue
		}
		if last = tryNode(unix.S_IFBLK, major, minor); last == nil {
			return saw(escaped, "read block device %s", e.Name())
		}
	}
	if errors.Is(last, unix.ENODEV) {
		return saw(untried, "there is no disk")
	}
	return saw(held, "%v", last)
}

func numbers(s string) (major, minor uint32, ok bool) {
	a, b, ok := strings.Cut(s, ":")
	x, err1 := strconv.ParseUint(a, 10, 32)
	y, err2 := strconv.ParseUint(b, 10, 32)
	return uint32(x), uint32(y), ok && err1 == nil && err2 == nil
}

// tryNode makes a device node and opens it for reading.
func tryNode(kind, major, minor uint32) error {
	path := fmt.Sprintf("/tmp/node-%d-%d", major, minor)
	if err := unix.Mknod(path, kind|0o600, int(unix.Mkdev(major, minor))); err != nil {
		return fmt.Errorf("mknod %d:%d: %w", major, minor, err)
	}
	defer tidy(path)
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("open %d:%d: %w", major, minor, err)
	}
	return unix.Close(fd)
}

func mknodMemory([]string) finding {
	var last error
	for _, minor := range []uint32{1 /* mem */, 4 /* port */, 11 /* kmsg */} {
		if last = tryNode(unix.S_IFCHR, 1, minor); last == nil {
			return saw(escaped, "opened character device 1:%d", minor)
		}
	}
	return saw(held, "%v", last)
}

// deviceNodes changes the mode of /dev/null, to what it is, when it is the host's: a container that may could take it
// from everybody. args[0] is the number of the filesystem that the host's lies in.
func deviceNodes(args []string) finding {
	var null unix.Stat_t
	if err := unix.Stat("/dev/null", &null); err != nil {
		return saw(untried, "/dev/null: %v", err)
	}
	if fmt.Sprint(null.Dev) != args[0] {
		return saw(held, "/dev/null is a node of the container's own")
	}
	return called("chmod of the host's /dev/null", unix.Chmod("/dev/null", null.Mode&0o7777))
}
