package inside

import (
	"errors"
	"strings"

	"golang.org/x/sys/unix"

	"naru/engine/sandbox/program"
)

// bench is where layers are put together, on a tmpfs. Every Linux has a /dev, and the program needs nothing of the
// host's any more: its devices come as descriptors.
const bench = "/dev"

// prepareLayers cuts this mount namespace off from the host's and makes room for layers. The current folder becomes
// the bench, so that an overlay's options name each layer with a few bytes: 500 of them, the kernel's limit, fit in
// the one page that mount takes.
func (m *machine) prepareLayers(o *program.Op) error {
	m.exe, _ = unix.Open("/proc/self/exe", unix.O_PATH|unix.O_CLOEXEC, 0)
	if o.Flags == program.InPlace {
		m.null, _ = unix.Open("/dev/null", unix.O_PATH|unix.O_CLOEXEC, 0) // missed by who masks a file
		return nil
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return fail("make / a slave", err)
	}
	var err error
	if m.null, err = unix.Open("/dev/null", unix.O_PATH|unix.O_CLOEXEC, 0); err != nil {
		return fail("/dev/null", err)
	}
	if err := unix.Mount("tmpfs", bench, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=700"); err != nil {
		return fail("tmpfs on "+bench, err)
	}
	return fail(bench, unix.Chdir(bench))
}

func (m *machine) attach(o *program.Op) error {
	fd, err := m.file(o)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.Mkdir(o.Path, 0o700); err != nil {
		return fail(o.Source, err)
	}
	return fail(o.Source, unix.MoveMount(fd, "", unix.AT_FDCWD, o.Path, unix.MOVE_MOUNT_F_EMPTY_PATH))
}

func (m *machine) overlay(o *program.Op) error {
	if err := unix.Mkdir(o.Path, 0o755); err != nil {
		return fail(o.Path, err)
	}
	return fail(o.Data, unix.Mount("overlay", o.Path, "overlay", uintptr(o.Flags), o.Data))
}

func (m *machine) openRoot(o *program.Op) (err error) {
	if o.Flags == program.InPlace {
		if err := unix.Mount(o.Path, o.Path, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			return fail(o.Path, err)
		}
	}
	m.root, err = unix.Open(o.Path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	return fail(o.Path, err)
}

func (m *machine) mount(o *program.Op) error {
	target, err := m.openDir(o.Path)
	if err != nil {
		return fail(o.Path, err)
	}
	defer unix.Close(target)
	return fail(o.Path, unix.Mount(o.Source, byFD(target), o.Type, uintptr(o.Flags), o.Data))
}

func (m *machine) bind(o *program.Op) error {
	fd, err := m.file(o)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	open := m.openFile
	if o.Flags == 1 {
		open = m.openDir
	}
	target, err := open(o.Path)
	if err != nil {
		return fail(o.Path, err)
	}
	defer unix.Close(target)
	return fail(o.Path, moveOnto(fd, target))
}

// moveOnto attaches a detached mount on top of what target is.
func moveOnto(fd, target int) error {
	return unix.MoveMount(fd, "", target, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
}

func (m *machine) mkdir(o *program.Op) error {
	dir, err := m.openDir(o.Path)
	if err != nil {
		return fail(o.Path, err)
	}
	return fail(o.Path, unix.Close(dir))
}

func (m *machine) symlink(o *program.Op) error {
	dir, base, err := m.parentOf(o.Path)
	if err != nil {
		return fail(o.Path, err)
	}
	defer unix.Close(dir)
	err = unix.Symlinkat(o.Source, dir, base)
	if errors.Is(err, unix.EEXIST) {
		return nil
	}
	return fail(o.Path, err)
}

func (m *machine) mknod(o *program.Op) error {
	dir, base, err := m.parentOf(o.Path)
	if err != nil {
		return fail(o.Path, err)
	}
	defer unix.Close(dir)
	err = unix.Mknodat(dir, base, uint32(o.Flags), int(o.Args[0]))
	if errors.Is(err, unix.EEXIST) {
		err = sameDevice(dir, base, o)
	}
	if err != nil {
		return fail(o.Path, err)
	}
	return fail(o.Path, unix.Fchownat(dir, base, int(o.Args[1]), int(o.Args[2]), unix.AT_SYMLINK_NOFOLLOW))
}

// sameDevice takes what an image has at a device's path for the device when it is that.
func sameDevice(dir int, base string, o *program.Op) error {
	var st unix.Stat_t
	if err := unix.Fstatat(dir, base, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	isDevice := st.Mode&unix.S_IFMT != unix.S_IFIFO
	if st.Mode&unix.S_IFMT != uint32(o.Flags)&unix.S_IFMT || isDevice && st.Rdev != o.Args[0] {
		return unix.EEXIST
	}
	return unix.Fchmodat(dir, base, uint32(o.Flags)&^unix.S_IFMT, 0)
}

// mask hides what is at a path. What is not there needs no hiding.
func (m *machine) mask(o *program.Op) error {
	target, err := m.open(o.Path, unix.O_PATH)
	if missing(err) {
		return nil
	}
	if err != nil {
		return fail(o.Path, err)
	}
	defer unix.Close(target)
	var st unix.Stat_t
	if err := unix.Fstat(target, &st); err != nil {
		return fail(o.Path, err)
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return fail(o.Path, unix.Mount("tmpfs", byFD(target), "tmpfs", unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=755,size=4k"))
	}
	clone, err := unix.OpenTree(m.null, "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH)
	if err != nil {
		return fail(o.Path, err)
	}
	defer unix.Close(clone)
	return fail(o.Path, moveOnto(clone, target))
}

func missing(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR)
}

// readOnly makes a mount read-only in place, or lays a read-only copy of what is at a path over it.
func (m *machine) readOnly(o *program.Op) error {
	target, err := m.open(o.Path, unix.O_PATH)
	if missing(err) {
		return nil
	}
	if err != nil {
		return fail(o.Path, err)
	}
	defer unix.Close(target)
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
	if o.Flags == program.InPlace {
		return fail(o.Path, unix.MountSetattr(target, "", unix.AT_EMPTY_PATH, &attr))
	}
	clone, err := unix.OpenTree(target, "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH|unix.AT_RECURSIVE)
	if err != nil {
		return fail(o.Path, err)
	}
	defer unix.Close(clone)
	if err := unix.MountSetattr(clone, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &attr); err != nil {
		return fail(o.Path, err)
	}
	return fail(o.Path, moveOnto(clone, target))
}

// sysctl writes to the container's own /proc/sys and nowhere else: a volume that an image had mounted over a part of it
// could hold links to files of the kernel that are the host's (CVE-2025-52881).
func (m *machine) sysctl(o *program.Op) error {
	proc, err := m.open("/proc", unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return fail(o.Path, err)
	}
	defer unix.Close(proc)
	err = writeProc(proc, strings.TrimPrefix(o.Path, "/proc/"), unix.RESOLVE_NO_SYMLINKS, o.Data)
	return fail(o.Path+" = "+o.Data, err)
}

// writeProc writes to a file of proc, which must be the kernel's own.
func writeProc(proc int, name string, resolve uint64, data string) error {
	var st unix.Statfs_t
	if err := unix.Fstatfs(proc, &st); err != nil {
		return err
	}
	if st.Type != unix.PROC_SUPER_MAGIC {
		return unix.EXDEV
	}
	how := unix.OpenHow{Flags: unix.O_WRONLY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_XDEV | resolve}
	fd, err := unix.Openat2(proc, name, &how)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	_, err = unix.Write(fd, []byte(data))
	return err
}

// propagate says how mounts under a mount show up elsewhere.
func (m *machine) propagate(o *program.Op) error {
	fd, err := m.open(o.Path, unix.O_PATH)
	if err != nil {
		return fail(o.Path, err)
	}
	defer unix.Close(fd)
	return fail(o.Path, unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &unix.MountAttr{Propagation: o.Flags}))
}

// pivot makes the container's root the root and lets go of the host's: pivot_root(".", ".") stacks the old root on
// the new one, where it can be detached without a folder to put it in.
func (m *machine) pivot(o *program.Op) error {
	if o.Flags == program.InPlace {
		return m.chroot()
	}
	old, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fail("/", err)
	}
	defer unix.Close(old)
	if err := unix.Fchdir(m.root); err != nil {
		return fail("the new root", err)
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return fail("pivot_root", err)
	}
	if err := unix.Fchdir(old); err != nil {
		return fail("the old root", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fail("unmount the old root", err)
	}
	return fail("/", unix.Chdir("/"))
}

// chroot makes the root the process's, in a mount namespace that others are in too.
func (m *machine) chroot() error {
	if err := unix.Fchdir(m.root); err != nil {
		return fail("the new root", err)
	}
	return fail("the new root", unix.Chroot("."))
}
