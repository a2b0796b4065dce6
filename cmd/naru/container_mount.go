package main

import (
	"context"
	"path/filepath"
	"slices"
	"strings"

	"github.com/docker/go-units"
	"github.com/spf13/pflag"

	"naru/api"
	"naru/naru"
)

// mountFlags are those of container run that put something into its files.
type mountFlags struct{ volumes, mounts, tmpfs, from []string }

func (f *mountFlags) register(fs *pflag.FlagSet) {
	fs.StringArrayVarP(&f.volumes, "volume", "v", nil, "a volume or a folder: `NAME|/FOLDER:/TARGET[:ro]`")
	fs.StringArrayVar(&f.mounts, "mount", nil, "a mount in `words`: type=volume|bind|tmpfs,source=…,target=…[,readonly][,volume-subpath=…][,volume-opt=size=…][,tmpfs-size=…]")
	fs.StringArrayVar(&f.tmpfs, "tmpfs", nil, "a file system in memory at this `/TARGET[:OPTIONS]`, such as /tmp:size=64m,mode=1777")
	fs.StringArrayVar(&f.from, "volumes-from", nil, "all volumes and folders that another `container[:ro]` has")
}

// apply reads the texts into the spec.
func (f *mountFlags) apply(spec *api.ContainerSpec) error {
	spec.Tmpfs = f.tmpfs
	for _, s := range f.volumes {
		m, err := parseVolume(s)
		if err != nil {
			return err
		}
		spec.Mounts = append(spec.Mounts, api.Mount{VolumeMount: m})
	}
	for _, s := range f.mounts {
		m, err := parseMount(s)
		switch {
		case err != nil:
			return err
		case m.tmpfs != "":
			spec.Tmpfs = append(spec.Tmpfs, m.tmpfs)
		default:
			spec.Mounts = append(spec.Mounts, m.Mount)
		}
	}
	return nil
}

// mountsFrom adds what other containers have mounted. What the spec has there itself wins.
func (c *cli) mountsFrom(ctx context.Context, others []string, spec *api.ContainerSpec) error {
	for _, other := range others {
		name, mode, _ := strings.Cut(other, ":")
		if mode != "" && mode != "ro" && mode != "rw" {
			return naru.Errorf(naru.InvalidArgument, "--volumes-from %q: after the container comes ro or rw, not %q", other, mode)
		}
		cl, err := c.client()
		if err != nil {
			return err
		}
		ct, err := cl.Container(ctx, name)
		if err != nil {
			return err
		}
		for _, m := range ct.Spec.Mounts {
			taken := func(own api.Mount) bool { return filepath.Clean(own.Target) == filepath.Clean(m.Target) }
			if slices.ContainsFunc(spec.Mounts, taken) {
				continue
			}
			m.ReadOnly = m.ReadOnly || mode == "ro"
			spec.Mounts = append(spec.Mounts, m)
		}
	}
	return nil
}

// wordedMount is a --mount: a volume or folder, or a file system in memory as --tmpfs has it.
type wordedMount struct {
	api.Mount
	tmpfs string

	kind, source     string
	options, inMount []string // of the volume; of the file system in memory
}

// parseMount reads docker's --mount: KEY=VALUE,… in any order.
func parseMount(s string) (wordedMount, error) {
	m := wordedMount{kind: "volume"}
	for _, field := range strings.Split(s, ",") {
		key, value, _ := strings.Cut(field, "=")
		if why := m.set(key, value); why != "" {
			return m, naru.Errorf(naru.InvalidArgument, "--mount %q: %s", s, why)
		}
	}
	var err error
	if m.Limit, err = parseDiskLimit("--mount: volume-opt", m.options); err != nil {
		return m, err
	}
	if why := m.finish(); why != "" {
		return m, naru.Errorf(naru.InvalidArgument, "--mount %q: %s", s, why)
	}
	return m, nil
}

// set takes one word, or says what is wrong with it.
func (m *wordedMount) set(key, value string) (wrong string) {
	switch key {
	case "type":
		m.kind = value
	case "source", "src":
		m.source = value
	case "target", "dst", "destination":
		m.Target = value
	case "readonly", "ro":
		m.ReadOnly = value != "false" && value != "0"
	case "volume-subpath":
		m.Subpath = value
	case "volume-opt":
		m.options = append(m.options, value)
	case "tmpfs-size":
		n, err := units.RAMInBytes(value)
		if err != nil || n <= 0 {
			return "tmpfs-size: write a size such as 64m"
		}
		m.inMount = append(m.inMount, "size="+value)
	case "tmpfs-mode":
		m.inMount = append(m.inMount, "mode="+value)
	case "bind-propagation":
		if value != "rprivate" && value != "private" {
			return "bind-propagation: only rprivate can be had, and every mount has it; leave it out"
		}
	case "volume-driver":
		if value != "local" {
			return "volume-driver: only local can be had; mount the storage on the host and name its folder with type=bind"
		}
	case "bind-create-src", "volume-nocopy", "bind-nonrecursive", "bind-recursive", "volume-label", "consistency":
		return "naru has no " + key + ": leave it out"
	default:
		return "the key " + key + " is none of type, source, target, readonly, volume-subpath, volume-opt, tmpfs-size, tmpfs-mode"
	}
	return ""
}

// finish puts the words together, or says what is wrong with them.
func (m *wordedMount) finish() (wrong string) {
	switch {
	case !filepath.IsAbs(m.Target):
		return "target must be an absolute path in the container"
	case (m.Subpath != "" || m.options != nil) && m.kind != "volume":
		return "volume-subpath and volume-opt are for volumes"
	case m.inMount != nil && m.kind != "tmpfs":
		return "tmpfs-size and tmpfs-mode are for tmpfs"
	case m.kind == "tmpfs" && m.source != "":
		return "tmpfs is made of memory: it has no source"
	case m.kind != "tmpfs" && m.source == "":
		return "source is missing: the volume's name, or the folder of the host"
	}
	switch m.kind {
	case "volume":
		m.Volume = naru.VolumeName(m.source)
	case "bind":
		m.HostPath = m.source
	case "tmpfs":
		if m.ReadOnly {
			m.inMount = append(m.inMount, "ro")
		}
		if m.tmpfs = m.Target; m.inMount != nil {
			m.tmpfs += ":" + strings.Join(m.inMount, ",")
		}
	default:
		return "type must be volume, bind or tmpfs"
	}
	return ""
}
