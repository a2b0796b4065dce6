package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"naru/naru"
)

// device is one device of the host on its way into a container.
type device struct {
	source, inside string
	kind           string // c or b
	major, minor   int64
	access         string
}

func (d device) mount() specs.Mount {
	return specs.Mount{Type: "bind", Source: d.source, Destination: d.inside, Options: []string{"bind", "rprivate", "nosuid", "noexec", "dev"}}
}

func (d device) rule() specs.LinuxDeviceCgroup {
	return specs.LinuxDeviceCgroup{Allow: true, Type: d.kind, Major: &d.major, Minor: &d.minor, Access: firstOf(d.access, "rwm")}
}

// findDevices looks at the devices that the container asks for, and makes a node for each that is the container's own:
// the host's belongs to the host's root, who is nobody inside.
func (e *Engine) findDevices(c Container) ([]device, error) {
	var all []device
	for _, wanted := range c.Spec.Isolation.Devices {
		found, err := hostDevices(wanted)
		if err != nil {
			return nil, naru.Errorf(naru.InvalidArgument, "device %s: %w", wanted.Host, err)
		}
		all = append(all, found...)
	}
	if len(all) == 0 {
		return nil, nil
	}
	dir := filepath.Join(e.containerDir(c.ID), "devices")
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o700)); err != nil { // those of the start before
		return nil, fmt.Errorf("make a folder for devices: %w", err)
	}
	for i := range all {
		if err := e.ownNode(c, &all[i], filepath.Join(dir, strconv.Itoa(i))); err != nil {
			return nil, fmt.Errorf("make device %s: %w", all[i].inside, err)
		}
	}
	return all, nil
}

// hostDevices are what a path of the host leads to: a device, or those in a folder.
func hostDevices(wanted naru.Device) ([]device, error) {
	base, err := filepath.EvalSymlinks(wanted.Host)
	if err != nil {
		return nil, err
	}
	inside := firstOf(wanted.Inside, wanted.Host)
	var found []device
	err = filepath.WalkDir(base, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.Type()&fs.ModeDevice == 0 {
			return nil
		}
		d, err := lookAtDevice(path)
		d.inside, d.access = filepath.Join(inside, path[len(base):]), wanted.Access
		found = append(found, d)
		return err
	})
	if err == nil && len(found) == 0 {
		err = errors.New("it is no device, nor a folder with any")
	}
	return found, err
}

func lookAtDevice(path string) (device, error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return device{}, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	kind := map[uint32]string{unix.S_IFCHR: "c", unix.S_IFBLK: "b"}[st.Mode&unix.S_IFMT]
	return device{source: path, kind: kind, major: int64(unix.Major(st.Rdev)), minor: int64(unix.Minor(st.Rdev))}, nil
}

// ownNode makes a node at path like the host's, of the same mode, that belongs to the container's root. An ordinary user
// can make none: the host's stays, with the rights that the user has.
func (e *Engine) ownNode(c Container, d *device, path string) error {
	if len(e.cfg.UIDMap) > 0 {
		return nil
	}
	var st unix.Stat_t
	if err := unix.Stat(d.source, &st); err != nil {
		return err
	}
	if err := unix.Mknod(path, st.Mode, int(st.Rdev)); err != nil {
		return err
	}
	if err := unix.Chmod(path, st.Mode&0o7777); err != nil { // past our umask
		return err
	}
	d.source = path
	if c.Spec.HostUserNS {
		return unix.Chown(path, int(st.Uid), int(st.Gid))
	}
	return unix.Chown(path, int(c.IDBase), int(c.IDBase))
}

// findIOLimits says in the kernel's words what the container may read and write of block devices; nil is no limit.
func findIOLimits(l naru.IOLimits) (*specs.LinuxBlockIO, error) {
	if l.None() {
		return nil, nil
	}
	out := &specs.LinuxBlockIO{}
	if l.Weight > 0 {
		out.Weight = &l.Weight
	}
	for _, f := range []struct {
		from []naru.IODevice
		to   *[]specs.LinuxThrottleDevice
	}{{l.ReadBps, &out.ThrottleReadBpsDevice}, {l.WriteBps, &out.ThrottleWriteBpsDevice},
		{l.ReadIOPS, &out.ThrottleReadIOPSDevice}, {l.WriteIOPS, &out.ThrottleWriteIOPSDevice}} {
		for _, limit := range f.from {
			d, err := hostDevices(naru.Device{Host: limit.Path})
			if err != nil || len(d) != 1 || d[0].kind != "b" {
				return nil, errors.Join(err, naru.Errorf(naru.InvalidArgument, "limit of %s: it is no block device", limit.Path))
			}
			throttle := specs.LinuxThrottleDevice{Rate: limit.Rate}
			throttle.Major, throttle.Minor = d[0].major, d[0].minor
			*f.to = append(*f.to, throttle)
		}
	}
	return out, nil
}
