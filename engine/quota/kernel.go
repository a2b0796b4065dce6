package quota

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"naru/naru"
)

// What linux/fs.h, linux/quota.h and linux/dqblk_xfs.h say and x/sys/unix does not. The kernel answers the calls of xfs
// for ext4 as well.
const (
	getAttributes = 0x801c581f // FS_IOC_FSGETXATTR
	setAttributes = 0x401c5820 // FS_IOC_FSSETXATTR
	inherit       = 0x00000200 // FS_XFLAG_PROJINHERIT

	ofProjects = 2 // PRJQUOTA
	getQuota   = ('X'<<8+3)<<8 | ofProjects
	setQuota   = ('X'<<8+4)<<8 | ofProjects
	getStatus  = ('X'<<8+8)<<8 | ofProjects // Q_XGETQSTATV

	enforced     = 1 << 5 // FS_QUOTA_PDQ_ENFD, in a status
	projectQuota = 1 << 1 // FS_PROJ_QUOTA, as a kind
	hardInodes   = 1 << 1 // FS_DQ_IHARD, in fields
	hardBlocks   = 1 << 3 // FS_DQ_BHARD
	blockBytes   = 512
)

// attributes is struct fsxattr.
type attributes struct {
	flags, extentSize, extents, project, copyExtentSize uint32
	_                                                   [8]byte
}

// diskQuota is struct fs_disk_quota.
type diskQuota struct {
	version, kind                                  int8
	fields                                         uint16
	id                                             uint32
	hardBlocks, softBlocks, hardInodes, softInodes uint64
	blocks, inodes                                 uint64
	_                                              [56]byte
}

// quotaStatus is struct fs_quota_statv.
type quotaStatus struct {
	version int8
	_       int8
	flags   uint16
	_       [156]byte
}

// project is what the file system knows of a project.
type project struct{ limit, used naru.DiskLimit }

func projectOf(f *os.File) (uint32, error) {
	a, err := readAttributes(f)
	return a.project, err
}

// readAttributes returns none where the file system has no such thing.
func readAttributes(f *os.File) (attributes, error) {
	var a attributes
	err := ioctl(f, getAttributes, &a)
	if errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		return attributes{}, nil
	}
	if err != nil {
		return a, fmt.Errorf("read its project id: %w", err)
	}
	return a, nil
}

// mark gives a folder a project id, which what is made in it inherits.
func mark(f *os.File, id uint32) error {
	a, err := readAttributes(f)
	if err != nil {
		return err
	}
	if a.project == id && a.flags&inherit != 0 {
		return nil
	}
	a.project, a.flags = id, a.flags|inherit
	if err := ioctl(f, setAttributes, &a); err != nil {
		return fmt.Errorf("set its project id: %w", err)
	}
	return nil
}

func ioctl(f *os.File, call uintptr, a *attributes) error {
	if _, _, e := unix.Syscall(unix.SYS_IOCTL, f.Fd(), call, uintptr(unsafe.Pointer(a))); e != 0 {
		return e
	}
	return nil
}

// isEnforced reports whether the file system of f holds projects to their limits.
func isEnforced(f *os.File) bool {
	status := quotaStatus{version: 1}
	return quotactl(f, getStatus, 0, unsafe.Pointer(&status)) == nil && status.flags&enforced != 0
}

// readProject returns what there is of a project; one that was never heard of is zero.
func readProject(f *os.File, id uint32) (project, error) {
	var q diskQuota
	err := quotactl(f, getQuota, id, unsafe.Pointer(&q))
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESRCH) || errors.Is(err, unix.ENOSYS) {
		return project{}, nil
	}
	if err != nil {
		return project{}, fmt.Errorf("read the quota of project %d: %w", id, err)
	}
	return project{
		limit: naru.DiskLimit{Bytes: int64(q.hardBlocks) * blockBytes, Inodes: int64(q.hardInodes)},
		used:  naru.DiskLimit{Bytes: int64(q.blocks) * blockBytes, Inodes: int64(q.inodes)},
	}, nil
}

func setLimit(f *os.File, id uint32, limit naru.DiskLimit) error {
	q := diskQuota{
		version: 1, kind: projectQuota, fields: hardInodes | hardBlocks, id: id,
		hardBlocks: uint64((limit.Bytes + blockBytes - 1) / blockBytes), hardInodes: uint64(limit.Inodes),
	}
	if err := quotactl(f, setQuota, id, unsafe.Pointer(&q)); err != nil {
		return fmt.Errorf("set the quota of project %d: %w", id, err)
	}
	return nil
}

func quotactl(f *os.File, call uintptr, id uint32, arg unsafe.Pointer) error {
	if _, _, e := unix.Syscall6(unix.SYS_QUOTACTL_FD, f.Fd(), call, uintptr(id), uintptr(arg), 0, 0); e != 0 {
		return e
	}
	return nil
}
