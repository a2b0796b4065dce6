package engine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"naru/engine/image"
)

// viewPrefix begins the names of mount points that are there for a moment.
const viewPrefix = ".view-"

// viewRoot mounts a root filesystem, as seen from no container, and returns its root. The mount is in no folder any
// more when this returns, and goes with the descriptor. The caller sees to it that no container runs on a writable one.
func (e *Engine) viewRoot(r image.Rootfs, writable bool) (_ *os.File, err error) {
	dir, err := os.MkdirTemp(e.cfg.DataDir, viewPrefix)
	if err != nil {
		return nil, fmt.Errorf("make a mount point: %w", err)
	}
	defer func() { err = errors.Join(err, os.Remove(dir)) }()
	options, flags, layers, err := viewOptions(r, writable)
	defer closeAll(layers...)
	if err != nil {
		return nil, err
	}
	if err := unix.Mount("overlay", dir, "overlay", flags, options); err != nil {
		return nil, fmt.Errorf("mount a root filesystem: %w", err)
	}
	root, err := os.OpenFile(dir, unix.O_PATH|unix.O_DIRECTORY, 0)
	return root, errors.Join(err, unix.Unmount(dir, unix.MNT_DETACH))
}

// viewOptions name the layers by descriptors: an overlay's options have the room of a page, and paths are long. Marks
// of the overlay are in user.* attributes, as the sandbox has them.
func viewOptions(r image.Rootfs, writable bool) (options string, flags uintptr, layers []*os.File, err error) {
	lower := r.Lower
	options = "userxattr"
	if writable {
		options += ",upperdir=" + r.Upper + ",workdir=" + r.Work
	} else {
		lower, flags = append([]string{r.Upper}, lower...), unix.MS_RDONLY
	}
	var names []string
	for _, dir := range lower {
		f, err := os.OpenFile(dir, unix.O_PATH|unix.O_DIRECTORY, 0)
		if err != nil {
			return "", 0, layers, fmt.Errorf("open a layer: %w", err)
		}
		layers, names = append(layers, f), append(names, fdPath(f))
	}
	return options + ",lowerdir=" + strings.Join(names, ":"), flags, layers, nil
}

// clearViews removes mount points that a daemon's death left.
func clearViews(dataDir string) error {
	left, err := filepath.Glob(filepath.Join(dataDir, viewPrefix+"*"))
	if err != nil {
		return err
	}
	for _, dir := range left {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) {
			return fmt.Errorf("unmount %s: %w", dir, err)
		}
		if err := os.Remove(dir); err != nil {
			return err
		}
	}
	return nil
}

func fdPath(f *os.File) string { return fmt.Sprintf("/proc/self/fd/%d", f.Fd()) }

// resolveIn opens what a path means to whoever has root as its root folder: symlinks, also absolute ones, and ".." stay
// inside, whatever is renamed meanwhile.
func resolveIn(root *os.File, path string) (*os.File, error) {
	how := &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
	for {
		fd, err := unix.Openat2(int(root.Fd()), path, how)
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
			continue // something was renamed just then: the kernel could not tell that it stayed inside
		}
		if err != nil {
			return nil, &os.PathError{Op: "open", Path: path, Err: err}
		}
		return os.NewFile(uintptr(fd), path), nil
	}
}

// asUser calls f on a thread whose new files belong to the given id of the host, to root of the container whose range
// begins there, and that is held to the limits of the disk, as that one is. The filesystem of a container takes files of
// no owner from outside of the range. The thread ends with f.
func asUser(id uint32, f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked, so that nobody else gets the thread
		if err := becomeUser(int(id)); err != nil {
			done <- err
			return
		}
		done <- f()
	}()
	return <-done
}

// becomeUser changes the thread's ids for files, and takes back the capabilities that the kernel drops with that: all but
// the one that quotas do not hold for.
func becomeUser(id int) error {
	if err := unix.Setfsgid(id); err != nil {
		return fmt.Errorf("become the container's root: %w", err)
	}
	if err := unix.Setfsuid(id); err != nil {
		return fmt.Errorf("become the container's root: %w", err)
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var caps [2]unix.CapUserData
	if err := unix.Capget(&header, &caps[0]); err != nil {
		return fmt.Errorf("read capabilities: %w", err)
	}
	caps[0].Effective, caps[1].Effective = caps[0].Permitted&^(1<<unix.CAP_SYS_RESOURCE), caps[1].Permitted
	if err := unix.Capset(&header, &caps[0]); err != nil {
		return fmt.Errorf("keep capabilities: %w", err)
	}
	// A change of ids makes the whole process one that cannot be debugged.
	return unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0)
}

func closeRoot(r *os.Root) { _ = r.Close() } // a folder: its files are closed on their own
