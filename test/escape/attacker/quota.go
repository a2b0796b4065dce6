package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// inodes makes args[1] empty files in the folder args[0].
func inodes(args []string) finding {
	dir := filepath.Join(args[0], "inodes")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return saw(untried, "%v", err)
	}
	defer func() { _ = os.RemoveAll(dir) }() // the container's own
	want, _ := strconv.Atoi(args[1])
	for n := range want {
		if err := os.WriteFile(filepath.Join(dir, strconv.Itoa(n)), nil, 0o644); err != nil {
			return full(err, "%d files", n)
		}
	}
	return saw(escaped, "made %d files", want)
}

// full judges an error of writing.
func full(err error, format string, args ...any) finding {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return saw(held, "%v after "+format, append([]any{err}, args...)...)
	}
	return saw(untried, "%v", err)
}

// The kernel's struct fsxattr and its calls, by which a folder gets the id of a project.
type fsxattr struct {
	flags, extentSize, extents, project, copyExtentSize uint32
	_                                                   [8]byte
}

const (
	fsGetXattr    = 0x801c581f
	fsSetXattr    = 0x401c5820
	projInherit   = 0x200      // as a flag of fsxattr
	projInheritFL = 0x20000000 // as one of FS_IOC_SETFLAGS
	anyProject    = 4242
	setAttr       = 469 // file_setattr, since Linux 6.17
)

// project takes the folder args[0], and a file in it, out of their project, by each way that there is, and quotas away.
func project(args []string) finding {
	dir, err := os.Open(args[0])
	if err != nil {
		return saw(untried, "%v", err)
	}
	file, err := os.Create(filepath.Join(args[0], "mine"))
	if err != nil {
		return saw(untried, "%v", err)
	}
	defer tidy(file.Name())
	tried := 0
	for what, try := range map[string]func() (bool, error){
		"the folder's project":       func() (bool, error) { return changed(dir, func(a *fsxattr) { a.project = anyProject }) },
		"a file's project":           func() (bool, error) { return changed(file, func(a *fsxattr) { a.project = anyProject }) },
		"no project":                 func() (bool, error) { return changed(dir, func(a *fsxattr) { a.project ^= 1 }) },
		"what the folder hands on":   func() (bool, error) { return changed(dir, func(a *fsxattr) { a.flags ^= projInherit }) },
		"the same, as flags":         func() (bool, error) { return flagged(dir) },
		"the same, by another call":  func() (bool, error) { return changedByName(args[0]) },
		"the limits, by the quota":   func() (bool, error) { return unlimited(dir) },
		"the limits, off altogether": func() (bool, error) { return quotasOff(dir) },
	} {
		did, err := try()
		if did {
			return saw(escaped, "changed %s", what)
		}
		if !errors.Is(err, unix.ENOTTY) && !errors.Is(err, unix.ENOSYS) && !errors.Is(err, unix.EOPNOTSUPP) {
			tried++
		}
	}
	return saw(held, "none of %d ways", tried)
}

// changed sets an attribute, looks whether that took, and puts it back.
func changed(f *os.File, change func(*fsxattr)) (bool, error) {
	var before, after fsxattr
	if err := xattr(f, fsGetXattr, &before); err != nil {
		return false, err
	}
	wanted := before
	change(&wanted)
	if err := xattr(f, fsSetXattr, &wanted); err != nil {
		return false, err
	}
	err := xattr(f, fsGetXattr, &after)
	did := after.project != before.project || (after.flags^before.flags)&projInherit != 0
	return did, errors.Join(err, xattr(f, fsSetXattr, &before))
}

func xattr(f *os.File, call uintptr, a *fsxattr) error {
	_, _, e := unix.Syscall(unix.SYS_IOCTL, f.Fd(), call, uintptr(unsafe.Pointer(a)))
	return errnoOf(e)
}

// flagged is changed for the older call.
func flagged(f *os.File) (bool, error) {
	before, err := unix.IoctlGetInt(int(f.Fd()), unix.FS_IOC_GETFLAGS)
	if err != nil {
		return false, err
	}
	if err := unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, before^projInheritFL); err != nil {
		return false, err
	}
	after, err := unix.IoctlGetInt(int(f.Fd()), unix.FS_IOC_GETFLAGS)
	return (after^before)&projInheritFL != 0, errors.Join(err, unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, before))
}

// changedByName is changed for the newest call, which needs no open file.
func changedByName(path string) (bool, error) {
	attr := struct {
		flags                               uint64
		extentSize, extents, project, cowed uint32
	}{flags: projInherit, project: anyProject}
	name, err := unix.BytePtrFromString(path)
	if err != nil {
		return false, err
	}
	at := unix.AT_FDCWD
	_, _, e := unix.Syscall6(setAttr, uintptr(at), uintptr(unsafe.Pointer(name)), uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr), 0, 0)
	return e == 0, errnoOf(e)
}

// unlimited sets a limit of more than any disk for the folder's project.
func unlimited(f *os.File) (bool, error) {
	var a fsxattr
	if err := xattr(f, fsGetXattr, &a); err != nil {
		return false, err
	}
	quota := struct {
		version, kind int8
		fields        uint16
		id            uint32
		limits        [4]uint64
		_             [72]byte
	}{version: 1, kind: 2, fields: 1<<1 | 1<<3, id: a.project}
	const setLimits = ('X'<<8+4)<<8 | 2 // QCMD(Q_XSETQLIM, PRJQUOTA)
	_, _, e := unix.Syscall6(unix.SYS_QUOTACTL_FD, f.Fd(), setLimits, uintptr(a.project), uintptr(unsafe.Pointer(&quota)), 0, 0)
	return e == 0, errnoOf(e)
}

// quotasOff turns the limits of projects off.
func quotasOff(f *os.File) (bool, error) {
	const off = 0x800003<<8 | 2 // QCMD(Q_QUOTAOFF, PRJQUOTA)
	_, _, e := unix.Syscall6(unix.SYS_QUOTACTL_FD, f.Fd(), off, 0, 0, 0, 0)
	if e == 0 {
		return true, nil
	}
	return false, fmt.Errorf("quotaoff: %w", e)
}
