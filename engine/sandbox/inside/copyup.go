package inside

import (
	"errors"
	"io"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"naru/engine/sandbox/program"
)

// copyUp mounts a filesystem over a folder and fills it with what the folder had. A read-only one is filled first.
func (m machine) copyUp(o *program.Op) error {
	below, errno := m.OpenDir()
	if errno != 0 {
		return fail(o.Path, errno)
	}
	defer unix.Close(below)
	if err := unix.Mount(o.Source, byFD(below), o.Type, uintptr(o.Flags)&^unix.MS_RDONLY, o.Data); err != nil {
		return fail(o.Path, err)
	}
	above, errno := m.OpenDir()
	if errno != 0 {
		return fail(o.Path, errno)
	}
	defer unix.Close(above)
	if err := copyEntries(below, above); err != nil {
		return fail("copy what "+o.Path+" had", err)
	}
	if o.Flags&unix.MS_RDONLY == 0 {
		return nil
	}
	return fail(o.Path, unix.MountSetattr(above, "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}))
}

// byFD names an open file for a system call that takes paths only.
func byFD(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

// copyEntries copies what one folder holds into another, by descriptors: no link leads out of either.
func copyEntries(from, to int) error {
	names, err := entries(from)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := copyEntry(from, to, name); err != nil {
			return fail(name, err)
		}
	}
	return nil
}

func entries(dir int) ([]string, error) {
	fd, err := unix.Openat(dir, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), ".")
	defer f.Close()
	return f.Readdirnames(-1)
}

func copyEntry(from, to int, name string) error {
	var st unix.Stat_t
	if err := unix.Fstatat(from, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	if err := makeEntry(from, to, name, &st); err != nil {
		return err
	}
	if err := unix.Fchownat(to, name, int(st.Uid), int(st.Gid), unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFLNK { // after the owner, whose change takes setuid away
		if err := unix.Fchmodat(to, name, st.Mode&^unix.S_IFMT, 0); err != nil {
			return err
		}
	}
	times := []unix.Timespec{st.Atim, st.Mtim}
	return unix.UtimesNanoAt(to, name, times, unix.AT_SYMLINK_NOFOLLOW)
}

func makeEntry(from, to int, name string, st *unix.Stat_t) error {
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return copyDir(from, to, name)
	case unix.S_IFREG:
		return copyFile(from, to, name)
	case unix.S_IFLNK:
		var link [unix.PathMax]byte
		n, err := unix.Readlinkat(from, name, link[:])
		if err != nil {
			return err
		}
		return unix.Symlinkat(string(link[:n]), to, name)
	}
	return unix.Mknodat(to, name, st.Mode, int(st.Rdev))
}

func copyDir(from, to int, name string) error {
	if err := unix.Mkdirat(to, name, 0o700); err != nil {
		return err
	}
	const flags = unix.O_PATH | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	source, err := unix.Openat(from, name, flags, 0)
	if err != nil {
		return err
	}
	defer unix.Close(source)
	target, err := unix.Openat(to, name, flags, 0)
	if err != nil {
		return err
	}
	defer unix.Close(target)
	return copyEntries(source, target)
}

func copyFile(from, to int, name string) error {
	in, err := unix.Openat(from, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	source := os.NewFile(uintptr(in), name)
	defer source.Close()
	out, err := unix.Openat(to, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	target := os.NewFile(uintptr(out), name)
	_, err = io.Copy(target, source)
	return errors.Join(err, target.Close())
}
