package bare

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"naru/engine/sandbox/program"
)

// bench is where layers are put together, on a tmpfs. Every Linux has a /dev, and the program needs nothing of the
// host's any more: its devices come as descriptors.
const bench = "/dev\x00"

// layers cuts this mount namespace off from the host's and makes room for layers. The current folder becomes the bench,
// so that an overlay's options name each layer with a few bytes: 500 of them, the kernel's limit, fit in the one page that
// mount takes.
//
//go:nosplit
//go:norace
func (m *Machine) layers() syscall.Errno {
	if m.Op.Flags == program.InPlace {
		m.null = m.openNull() // missed by who masks a file
		return 0
	}
	m.aboutText("make / a slave\x00")
	if err := mount(lit("\x00"), lit("/\x00"), lit("\x00"), unix.MS_REC|unix.MS_SLAVE, 0); err != 0 {
		return err
	}
	m.aboutText("/dev/null\x00")
	if m.null = m.openNull(); m.null < 0 {
		return unix.ENOENT
	}
	m.aboutText(bench)
	if err := mount(lit("tmpfs\x00"), lit(bench), lit("tmpfs\x00"), unix.MS_NOSUID|unix.MS_NODEV, lit("mode=700\x00")); err != 0 {
		return err
	}
	return errno3(unix.SYS_CHDIR, lit(bench), 0, 0)
}

//go:nosplit
//go:norace
func (m *Machine) openNull() int {
	fd, err := openAt(unix.AT_FDCWD, lit("/dev/null\x00"), unix.O_PATH)
	if err != 0 {
		return -1
	}
	return fd
}

//go:nosplit
//go:norace
func mount(source, target, kind, flags, data uintptr) syscall.Errno {
	_, _, err := syscall.RawSyscall6(unix.SYS_MOUNT, source, target, kind, flags, data, 0)
	return err
}

//go:nosplit
//go:norace
func (m *Machine) attach() syscall.Errno {
	m.aboutOp(m.Op.Source)
	fd, err := m.File()
	if err != 0 {
		return err
	}
	path := m.Reader.Address(m.Op.Path)
	if err = errno3(unix.SYS_MKDIRAT, cwd(), path, 0o700); err == 0 {
		_, _, err = syscall.RawSyscall6(unix.SYS_MOVE_MOUNT, uintptr(fd), lit("\x00"), cwd(), path, unix.MOVE_MOUNT_F_EMPTY_PATH, 0)
	}
	closeFD(fd)
	return err
}

// cwd is AT_FDCWD as a system call takes it.
//
//go:nosplit
//go:norace
func cwd() uintptr {
	fd := unix.AT_FDCWD
	return uintptr(fd)
}

//go:nosplit
//go:norace
func (m *Machine) overlay() syscall.Errno {
	path := m.Reader.Address(m.Op.Path)
	m.aboutOp(m.Op.Path)
	if err := errno3(unix.SYS_MKDIRAT, cwd(), path, 0o755); err != 0 {
		return err
	}
	m.aboutOp(m.Op.Data)
	return mount(lit("overlay\x00"), path, lit("overlay\x00"), uintptr(m.Op.Flags), m.Reader.Address(m.Op.Data))
}

//go:nosplit
//go:norace
func (m *Machine) openRoot() (err syscall.Errno) {
	m.aboutOp(m.Op.Path)
	path := m.Reader.Address(m.Op.Path)
	if m.Op.Flags == program.InPlace {
		if err := mount(path, path, lit("\x00"), unix.MS_BIND|unix.MS_REC, 0); err != 0 {
			return err
		}
	}
	m.root, err = openAt(unix.AT_FDCWD, path, dirFlags)
	return err
}

//go:nosplit
//go:norace
func (m *Machine) mount() syscall.Errno {
	o := &m.Op
	m.aboutOp(o.Path)
	target, err := m.openDir(o.Path)
	if err != 0 {
		return err
	}
	err = mount(m.Reader.Address(o.Source), m.byFD(target), m.Reader.Address(o.Type), uintptr(o.Flags), m.options())
	closeFD(target)
	return err
}

// options are Data; none are a nil, since some file systems take an empty string for a wrong one.
//
//go:nosplit
//go:norace
func (m *Machine) options() uintptr {
	if m.Op.Data.N == 0 {
		return 0
	}
	return m.Reader.Address(m.Op.Data)
}

// bind attaches a detached mount: a missing path becomes what it is, a folder or a file.
//
//go:nosplit
//go:norace
func (m *Machine) bind() syscall.Errno {
	m.aboutOp(m.Op.Path)
	fd, err := m.File()
	if err != 0 {
		return err
	}
	if err = m.look(fd, lit("\x00")); err == 0 {
		var target int
		if m.stat.Mode&unix.S_IFMT == unix.S_IFDIR {
			target, err = m.openDir(m.Op.Path)
		} else {
			target, err = m.openFile(m.Op.Path)
		}
		if err == 0 {
			err = moveOnto(fd, target)
			closeFD(target)
		}
	}
	closeFD(fd)
	return err
}

// look reads what kind of file there is, below a folder or, with an empty path, the very file.
//
//go:nosplit
//go:norace
func (m *Machine) look(fd int, path uintptr) syscall.Errno {
	_, _, err := syscall.RawSyscall6(unix.SYS_STATX, uintptr(fd), path, unix.AT_EMPTY_PATH|unix.AT_SYMLINK_NOFOLLOW,
		unix.STATX_TYPE|unix.STATX_MODE, uintptr(unsafe.Pointer(&m.stat)), 0)
	return err
}

// moveOnto attaches a detached mount on top of what target is.
//
//go:nosplit
//go:norace
func moveOnto(fd, target int) syscall.Errno {
	_, _, err := syscall.RawSyscall6(unix.SYS_MOVE_MOUNT, uintptr(fd), lit("\x00"), uintptr(target), lit("\x00"),
		unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH, 0)
	return err
}

//go:nosplit
//go:norace
func (m *Machine) mkdir() syscall.Errno {
	m.aboutOp(m.Op.Path)
	dir, err := m.openDir(m.Op.Path)
	if err == 0 {
		closeFD(dir)
	}
	return err
}

//go:nosplit
//go:norace
func (m *Machine) symlink() syscall.Errno {
	m.aboutOp(m.Op.Path)
	dir, err := m.parentOf(m.Op.Path)
	if err != 0 {
		return err
	}
	err = errno3(unix.SYS_SYMLINKAT, m.Reader.Address(m.Op.Source), uintptr(dir), m.nameAt())
	closeFD(dir)
	if err == unix.EEXIST {
		return 0
	}
	return err
}

//go:nosplit
//go:norace
func (m *Machine) mknod() syscall.Errno {
	m.aboutOp(m.Op.Path)
	dir, err := m.parentOf(m.Op.Path)
	if err != 0 {
		return err
	}
	device := m.Reader.Arg(&m.Op, 0)
	_, _, err = syscall.RawSyscall6(unix.SYS_MKNODAT, uintptr(dir), m.nameAt(), uintptr(m.Op.Flags), uintptr(device), 0, 0)
	if err == unix.EEXIST {
		err = m.sameDevice(dir, device)
	}
	if err == 0 {
		_, _, err = syscall.RawSyscall6(unix.SYS_FCHOWNAT, uintptr(dir), m.nameAt(), uintptr(m.Reader.Arg(&m.Op, 1)),
			uintptr(m.Reader.Arg(&m.Op, 2)), unix.AT_SYMLINK_NOFOLLOW, 0)
	}
	closeFD(dir)
	return err
}

// sameDevice takes what an image has at a device's path for the device when it is that.
//
//go:nosplit
//go:norace
func (m *Machine) sameDevice(dir int, device uint64) syscall.Errno {
	if err := m.look(dir, m.nameAt()); err != 0 {
		return err
	}
	kind := uint32(m.stat.Mode) & unix.S_IFMT
	major := uint32((device&0x00000000000fff00)>>8) | uint32((device&0xfffff00000000000)>>32)
	minor := uint32(device&0x00000000000000ff) | uint32((device&0x00000ffffff00000)>>12)
	isDevice := kind != unix.S_IFIFO
	if kind != uint32(m.Op.Flags)&unix.S_IFMT || isDevice && (m.stat.Rdev_major != major || m.stat.Rdev_minor != minor) {
		return unix.EEXIST
	}
	return errno3(unix.SYS_FCHMODAT, uintptr(dir), m.nameAt(), uintptr(uint32(m.Op.Flags)&^unix.S_IFMT))
}

// mask hides what is at a path. What is not there needs no hiding.
//
//go:nosplit
//go:norace
func (m *Machine) mask() syscall.Errno {
	m.aboutOp(m.Op.Path)
	target, err := m.open(m.Reader.Address(m.Op.Path), unix.O_PATH)
	if missing(err) {
		return 0
	}
	if err != 0 {
		return err
	}
	if err = m.look(target, lit("\x00")); err == 0 {
		if m.stat.Mode&unix.S_IFMT == unix.S_IFDIR {
			err = m.maskDir(target)
		} else {
			err = cloneOnto(m.null, target)
		}
	}
	closeFD(target)
	return err
}

// maskDir lays an empty folder over another, the same over all.
//
//go:nosplit
//go:norace
func (m *Machine) maskDir(target int) (err syscall.Errno) {
	if m.empty >= 0 {
		return cloneOnto(m.empty, target)
	}
	const flags = unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	if err = mount(lit("tmpfs\x00"), m.byFD(target), lit("tmpfs\x00"), flags, lit("mode=755,size=4k\x00")); err != 0 {
		return err
	}
	m.empty, err = m.open(m.Reader.Address(m.Op.Path), unix.O_PATH)
	return err
}

//go:nosplit
//go:norace
func missing(err syscall.Errno) bool { return err == unix.ENOENT || err == unix.ENOTDIR }

const cloneFlags = unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC | unix.AT_EMPTY_PATH

// cloneOnto shows a file in the place of another.
//
//go:nosplit
//go:norace
func cloneOnto(fd, target int) syscall.Errno {
	clone, _, err := syscall.RawSyscall6(unix.SYS_OPEN_TREE, uintptr(fd), lit("\x00"), cloneFlags, 0, 0, 0)
	if err != 0 {
		return err
	}
	err = moveOnto(int(clone), target)
	closeFD(int(clone))
	return err
}

// readOnly makes a mount read-only in place, or lays a read-only copy of what is at a path over it.
//
//go:nosplit
//go:norace
func (m *Machine) readOnly() syscall.Errno {
	m.aboutOp(m.Op.Path)
	target, err := m.open(m.Reader.Address(m.Op.Path), unix.O_PATH)
	if missing(err) {
		return 0
	}
	if err != 0 {
		return err
	}
	m.attr = unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
	if m.Op.Flags == program.InPlace {
		err = m.setAttr(target, unix.AT_EMPTY_PATH)
	} else {
		err = m.coverReadOnly(target)
	}
	closeFD(target)
	return err
}

//go:nosplit
//go:norace
func (m *Machine) coverReadOnly(target int) syscall.Errno {
	clone, _, err := syscall.RawSyscall6(unix.SYS_OPEN_TREE, uintptr(target), lit("\x00"), cloneFlags|unix.AT_RECURSIVE, 0, 0, 0)
	if err != 0 {
		return err
	}
	if err = m.setAttr(int(clone), unix.AT_EMPTY_PATH|unix.AT_RECURSIVE); err == 0 {
		err = moveOnto(int(clone), target)
	}
	closeFD(int(clone))
	return err
}

//go:nosplit
//go:norace
func (m *Machine) setAttr(fd int, flags uintptr) syscall.Errno {
	_, _, err := syscall.RawSyscall6(unix.SYS_MOUNT_SETATTR, uintptr(fd), lit("\x00"), flags, uintptr(unsafe.Pointer(&m.attr)), unsafe.Sizeof(m.attr), 0)
	return err
}

// propagate says how mounts under a mount show up elsewhere.
//
//go:nosplit
//go:norace
func (m *Machine) propagate() syscall.Errno {
	m.aboutOp(m.Op.Path)
	fd, err := m.open(m.Reader.Address(m.Op.Path), unix.O_PATH)
	if err != 0 {
		return err
	}
	m.attr = unix.MountAttr{Propagation: m.Op.Flags}
	err = m.setAttr(fd, unix.AT_EMPTY_PATH)
	closeFD(fd)
	return err
}

// sysctl writes to the container's own /proc/sys and nowhere else: a volume that an image had mounted over a part of it
// could hold links to files of the kernel that are the host's (CVE-2025-52881).
//
//go:nosplit
//go:norace
func (m *Machine) sysctl() syscall.Errno {
	const proc = len("/proc/")
	m.aboutOp(m.Op.Path)
	m.aboutValue(m.Op.Data)
	dir, err := m.open(lit("/proc\x00"), dirFlags)
	if err != 0 {
		return err
	}
	err = m.writeProc(dir, m.Reader.Address(m.Op.Path)+uintptr(proc), unix.RESOLVE_NO_SYMLINKS)
	closeFD(dir)
	return err
}

// writeProc writes Data to a file of proc, which must be the kernel's own.
//
//go:nosplit
//go:norace
func (m *Machine) writeProc(proc int, name uintptr, resolve uint64) syscall.Errno {
	if err := errno3(unix.SYS_FSTATFS, uintptr(proc), uintptr(unsafe.Pointer(&m.fs)), 0); err != 0 {
		return err
	}
	if m.fs.Type != unix.PROC_SUPER_MAGIC {
		return unix.EXDEV
	}
	m.how.Flags, m.how.Resolve = unix.O_WRONLY|unix.O_CLOEXEC, unix.RESOLVE_BENEATH|unix.RESOLVE_NO_XDEV|resolve
	fd, _, err := syscall.RawSyscall6(unix.SYS_OPENAT2, uintptr(proc), name, uintptr(unsafe.Pointer(&m.how)), unsafe.Sizeof(m.how), 0, 0)
	if err != 0 {
		return err
	}
	err = m.writeData(int(fd))
	closeFD(int(fd))
	return err
}

//go:nosplit
//go:norace
func (m *Machine) writeData(fd int) syscall.Errno {
	return errno3(unix.SYS_WRITE, uintptr(fd), m.Reader.Address(m.Op.Data), uintptr(m.Op.Data.N))
}

// pivot makes the container's root the root and lets go of the host's: pivot_root(".", ".") stacks the old root on
// the new one, where it can be detached without a folder to put it in.
//
//go:nosplit
//go:norace
func (m *Machine) pivot() syscall.Errno {
	m.aboutText("the new root\x00")
	if m.Op.Flags == program.InPlace { // others are in this mount namespace too
		if err := errno3(unix.SYS_FCHDIR, uintptr(m.root), 0, 0); err != 0 {
			return err
		}
		return errno3(unix.SYS_CHROOT, lit(".\x00"), 0, 0)
	}
	old, err := openAt(unix.AT_FDCWD, lit("/\x00"), unix.O_PATH|unix.O_DIRECTORY)
	if err != 0 {
		return err
	}
	if err = errno3(unix.SYS_FCHDIR, uintptr(m.root), 0, 0); err == 0 {
		err = m.leave(old)
	}
	closeFD(old)
	return err
}

//go:nosplit
//go:norace
func (m *Machine) leave(old int) syscall.Errno {
	m.aboutText("pivot_root\x00")
	if err := errno3(unix.SYS_PIVOT_ROOT, lit(".\x00"), lit(".\x00"), 0); err != 0 {
		return err
	}
	m.aboutText("the old root\x00")
	if err := errno3(unix.SYS_FCHDIR, uintptr(old), 0, 0); err != 0 {
		return err
	}
	if err := errno3(unix.SYS_UMOUNT2, lit(".\x00"), unix.MNT_DETACH, 0); err != 0 {
		return err
	}
	return errno3(unix.SYS_CHDIR, lit("/\x00"), 0, 0)
}
