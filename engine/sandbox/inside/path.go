package inside

import (
	"errors"
	"path"
	"strconv"

	"golang.org/x/sys/unix"
)

// within keeps a path walk in the container's root: ".." and absolute links end there, and the links of /proc that
// jump anywhere (/proc/self/cwd is the host's here) are refused.
const within = unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS

// open opens p in the container's root.
func (m *machine) open(p string, flags uint64) (int, error) {
	how := unix.OpenHow{Flags: flags | unix.O_CLOEXEC, Resolve: within}
	root := m.root
	if root < 0 {
		var err error
		if root, err = unix.Open("/", unix.O_PATH|unix.O_CLOEXEC, 0); err != nil {
			return -1, err
		}
		defer unix.Close(root)
	}
	for {
		fd, err := unix.Openat2(root, p, &how)
		// EAGAIN: a rename raced with the walk and the kernel cannot vouch for it.
		if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) {
			return fd, err
		}
	}
}

// openDir opens the folder p, making it and its parents when they are missing.
func (m *machine) openDir(p string) (int, error) { return m.openDirVia(p, 0) }

// maxLinks is the kernel's limit of links in one path walk.
const maxLinks = 40

// openDirVia is openDir after links many links that led nowhere yet: what they lead to is made too (an image's
// /var/run may point to a /run that it lacks).
func (m *machine) openDirVia(p string, links int) (int, error) {
	fd, err := m.open(p, unix.O_PATH|unix.O_DIRECTORY)
	if !errors.Is(err, unix.ENOENT) {
		return fd, err
	}
	parent, err := m.openDirVia(path.Dir(p), links)
	if err != nil {
		return -1, err
	}
	defer unix.Close(parent)
	err = unix.Mkdirat(parent, path.Base(p), 0o755)
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return -1, err
	}
	if fd, err = m.open(p, unix.O_PATH|unix.O_DIRECTORY); !errors.Is(err, unix.ENOENT) {
		return fd, err
	}
	target, err := readLink(parent, p, links)
	if err != nil {
		return -1, err
	}
	return m.openDirVia(target, links+1)
}

// readLink returns where the link p, whose folder is parent, leads within the root; an error when it is not one, or when
// it is one too many.
func readLink(parent int, p string, links int) (string, error) {
	var link [unix.PathMax]byte
	n, err := unix.Readlinkat(parent, path.Base(p), link[:])
	if err != nil || links == maxLinks {
		return "", unix.ELOOP
	}
	target := string(link[:n])
	if !path.IsAbs(target) {
		target = path.Join(path.Dir(p), target)
	}
	return path.Clean(target), nil
}

// openFile opens the file p, making it and its parents when they are missing.
func (m *machine) openFile(p string) (int, error) { return m.openFileVia(p, 0) }

// openFileVia is openFile after links many links that led nowhere yet, as an image's /etc/resolv.conf may.
func (m *machine) openFileVia(p string, links int) (int, error) {
	fd, err := m.open(p, unix.O_PATH)
	if !errors.Is(err, unix.ENOENT) {
		return fd, err
	}
	parent, err := m.openDir(path.Dir(p))
	if err != nil {
		return -1, err
	}
	defer unix.Close(parent)
	fd, err = unix.Openat(parent, path.Base(p), unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_WRONLY|unix.O_CLOEXEC, 0o644)
	if errors.Is(err, unix.EEXIST) {
		target, err := readLink(parent, p, links)
		if err != nil {
			return -1, err
		}
		return m.openFileVia(target, links+1)
	}
	if err != nil {
		return -1, err
	}
	unix.Close(fd)
	return m.open(p, unix.O_PATH)
}

// parentOf opens the folder that p is to be made in.
func (m *machine) parentOf(p string) (dir int, base string, err error) {
	dir, err = m.openDir(path.Dir(p))
	return dir, path.Base(p), err
}

// byFD names an open file for a system call that takes paths only.
func byFD(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }
