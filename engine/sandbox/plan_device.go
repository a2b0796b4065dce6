package sandbox

import (
	"path"
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"naru/engine/sandbox/program"
	"naru/naru"
)

// defaultDevices are those that the runtime-spec promises to every container.
func defaultDevices() []specs.LinuxDevice {
	return []specs.LinuxDevice{
		{Path: "/dev/null", Type: "c", Major: 1, Minor: 3}, {Path: "/dev/zero", Type: "c", Major: 1, Minor: 5},
		{Path: "/dev/full", Type: "c", Major: 1, Minor: 7}, {Path: "/dev/random", Type: "c", Major: 1, Minor: 8},
		{Path: "/dev/urandom", Type: "c", Major: 1, Minor: 9}, {Path: "/dev/tty", Type: "c", Major: 5, Minor: 0},
	}
}

// promisedDevices are the default ones that a spec does not have itself.
func promisedDevices(own []specs.LinuxDevice) []specs.LinuxDevice {
	return slices.DeleteFunc(defaultDevices(), func(d specs.LinuxDevice) bool {
		return slices.ContainsFunc(own, func(o specs.LinuxDevice) bool { return path.Clean(o.Path) == d.Path })
	})
}

// planDevices fills /dev, when it is a mount of the container's own. In a user namespace nobody may make devices: the
// host's are bound.
func (p *plan) planDevices(s *specs.Spec, bind bool) error {
	devices := s.Linux.Devices
	own := slices.ContainsFunc(s.Mounts, func(m specs.Mount) bool { return path.Clean(m.Destination) == "/dev" && m.Type == "tmpfs" })
	if own {
		devices = append(promisedDevices(devices), devices...)
	}
	for _, d := range devices {
		if bind {
			p.addSource(program.Op{Kind: program.Bind, Path: d.Path}, source{path: d.Path})
			continue
		}
		if err := p.planDevice(d); err != nil {
			return err
		}
	}
	if own {
		for _, link := range [][2]string{{"/proc/self/fd", "fd"}, {"/proc/self/fd/0", "stdin"}, {"/proc/self/fd/1", "stdout"},
			{"/proc/self/fd/2", "stderr"}, {"/proc/kcore", "core"}, {"pts/ptmx", "ptmx"}} {
			p.add(program.Op{Kind: program.Symlink, Source: link[0], Path: "/dev/" + link[1]})
		}
	}
	return nil
}

func (p *plan) planDevice(d specs.LinuxDevice) error {
	kinds := map[string]uint64{"c": unix.S_IFCHR, "u": unix.S_IFCHR, "b": unix.S_IFBLK, "p": unix.S_IFIFO}
	mode, known := kinds[d.Type]
	if !known {
		return naru.Errorf(naru.InvalidArgument, "device %s: unknown type %q", d.Path, d.Type)
	}
	perm, uid, gid := uint64(0o666), uint64(0), uint64(0)
	if d.FileMode != nil {
		perm = uint64(d.FileMode.Perm())
	}
	if d.UID != nil {
		uid = uint64(*d.UID)
	}
	if d.GID != nil {
		gid = uint64(*d.GID)
	}
	p.add(program.Op{Kind: program.Mknod, Path: d.Path, Flags: mode | perm,
		Args: []uint64{unix.Mkdev(uint32(d.Major), uint32(d.Minor)), uid, gid}})
	return nil
}
