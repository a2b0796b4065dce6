package sandbox

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"naru/engine/sandbox/fork"
	"naru/naru"
)

// open makes a detached mount of every source, in the order of their descriptors, and tells the operations that bind
// them what they are. Idmapped ones use the user namespace of pid.
func (p *plan) open(pid int) (files []*os.File, err error) {
	defer func() {
		if err != nil {
			closeAll(files)
		}
	}()
	var userns *os.File
	if p.idmaps.change() {
		if userns, err = os.Open(procPath(pid, "ns/user")); err != nil {
			return nil, fmt.Errorf("open the user namespace: %w", err)
		}
		defer userns.Close()
	}
	for _, src := range p.sources {
		f, err := src.open(userns)
		if err != nil {
			return files, fmt.Errorf("mount %s: %w", src.path, err)
		}
		files = append(files, f)
	}
	return files, nil
}

func (s *source) open(userns *os.File) (*os.File, error) {
	flags := uint(unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC)
	if s.recursive {
		flags |= unix.AT_RECURSIVE
	}
	fd, err := unix.OpenTree(unix.AT_FDCWD, s.path, flags)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), s.path)
	if err := s.setAttributes(fd, userns); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// setAttributes cuts the clone off from the host's mount events, then gives it its flags and its ids.
func (s *source) setAttributes(fd int, userns *os.File) error {
	attr := unix.MountAttr{Propagation: s.spread}
	if attr.Propagation == 0 {
		attr.Propagation = unix.MS_PRIVATE
	}
	if s.recursive && !s.deep { // flags for the top only: propagation is for the whole tree
		if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &attr); err != nil {
			return fmt.Errorf("set propagation: %w", err)
		}
		attr.Propagation = 0
	}
	attr.Attr_set, attr.Attr_clr = s.set, s.clear
	if attr.Attr_set&unix.MOUNT_ATTR__ATIME != 0 || attr.Attr_set&(unix.MOUNT_ATTR_NOATIME|unix.MOUNT_ATTR_STRICTATIME) != 0 {
		attr.Attr_clr |= unix.MOUNT_ATTR__ATIME
	}
	if s.idmap && s.idmapDeep == s.deep {
		return s.mapIDs(fd, userns, attr)
	}
	if s.idmap {
		if err := s.mapIDs(fd, userns, unix.MountAttr{}); err != nil {
			return err
		}
	}
	return setTree(fd, s.deep, &attr)
}

// mapIDs sets attributes and id maps in one call.
func (s *source) mapIDs(fd int, userns *os.File, attr unix.MountAttr) error {
	if s.own != nil {
		own, err := fork.UserNamespace(forkMaps(s.own.uids), forkMaps(s.own.gids))
		if err != nil {
			return err
		}
		defer own.Close()
		userns = own
	}
	attr.Attr_set |= unix.MOUNT_ATTR_IDMAP
	attr.Userns_fd = uint64(userns.Fd())
	err := setTree(fd, s.idmapDeep, &attr)
	if errors.Is(err, unix.EPERM) {
		return naru.Errorf(naru.PermissionDenied, "its ids can only be mapped by the host's root: %w", err)
	}
	if errors.Is(err, unix.EINVAL) {
		return naru.Errorf(naru.FailedPrecondition, "its filesystem cannot map ids (ext4, xfs and btrfs can; tmpfs from Linux 6.3): "+
			"keep it on another, or run without a user namespace: %w", err)
	}
	return err
}

func setTree(fd int, whole bool, attr *unix.MountAttr) error {
	if *attr == (unix.MountAttr{}) {
		return nil
	}
	at := uint(unix.AT_EMPTY_PATH)
	if whole {
		at |= unix.AT_RECURSIVE
	}
	return unix.MountSetattr(fd, "", at, attr)
}
