package engine

import (
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/sys/user"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/opencontainers/runtime-spec/specs-go"

	"naru/engine/image"
	"naru/engine/sandbox"
	"naru/naru"
)

// specInput is all that a container's runtime spec follows from.
type specInput struct {
	c       Container
	img     ocispec.ImageConfig
	user    specs.User
	sources map[string]string // target of a mount → path on the host
	dir     string            // the container's own folder, with resolv.conf, hosts and hostname
	cgroup  string
	joined  []specs.LinuxNamespace // other containers'
	devices []device
	hostIPC []string // the host's folders for that, when it is shared
	io      *specs.LinuxBlockIO
	ids     idMaps
}

// idMaps are a container's ids outside; none when it shares naru's user namespace.
type idMaps struct{ uids, gids []specs.LinuxIDMapping }

// runtimeSpec turns a container into an OCI runtime spec: what the user asked for, else what the image says, else
// Docker's defaults.
func runtimeSpec(in specInput) (*specs.Spec, error) {
	args, err := processArgs(in.c, in.img)
	if err != nil {
		return nil, err
	}
	caps, err := capabilities(in.c.Spec.Isolation)
	if err != nil {
		return nil, err
	}
	othersNet := slices.ContainsFunc(in.joined, func(ns specs.LinuxNamespace) bool { return ns.Type == specs.NetworkNamespace })
	s, err := sandbox.DefaultSpec(sandbox.Defaults{
		Args: args, Env: processEnv(in.c, in.img), Cwd: firstOf(in.c.Spec.WorkingDir, in.img.WorkingDir, "/"),
		User: in.user, Hostname: hostname(in.c), Terminal: in.c.Spec.TTY, ReadOnly: in.c.Spec.ReadOnly,
		UIDMap: in.ids.uids, GIDMap: in.ids.gids, HostNetwork: in.c.Spec.Network == HostNetwork || othersNet,
		Capabilities: caps, Seccomp: in.c.Spec.Isolation.Seccomp,
	})
	if err != nil {
		return nil, err
	}
	s.Linux.CgroupsPath = in.cgroup
	s.Linux.Resources = resources(in.c.Spec.Limits, s.Linux.Resources)
	s.Linux.Resources.BlockIO = in.io
	s.Mounts = append(s.Mounts, mounts(in)...)
	return s, in.isolate(s)
}

// processArgs follows Docker: an entrypoint of the user's discards the image's command too.
func processArgs(c Container, img ocispec.ImageConfig) ([]string, error) {
	entrypoint, command := c.Spec.Entrypoint, c.Spec.Command
	if len(entrypoint) == 0 {
		entrypoint = img.Entrypoint
		if len(command) == 0 {
			command = img.Cmd
		}
	}
	args := slices.Concat(entrypoint, command)
	if len(args) == 0 {
		return nil, naru.Errorf(naru.InvalidArgument, "image %s has no command: name one after the image", c.Spec.Image)
	}
	return args, nil
}

const defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

func processEnv(c Container, img ocispec.ImageConfig) []string {
	env := []string{defaultPath, "HOSTNAME=" + hostname(c)}
	if c.Spec.TTY {
		env = append(env, "TERM=xterm")
	}
	return mergeEnv(env, img.Env, c.Spec.Env)
}

// mergeEnv joins lists of NAME=value; a later value replaces an earlier one in its place.
func mergeEnv(lists ...[]string) []string {
	var out []string
	at := map[string]int{}
	for _, kv := range slices.Concat(lists...) {
		name, _, _ := strings.Cut(kv, "=")
		if i, ok := at[name]; ok {
			out[i] = kv
			continue
		}
		at[name] = len(out)
		out = append(out, kv)
	}
	return out
}

// hostname is the container's own, or the host's where it shares that one's.
func hostname(c Container) string {
	if c.Spec.Isolation.UTS != "" {
		if name, err := os.Hostname(); err == nil {
			return name
		}
	}
	return firstOf(c.Spec.Hostname, c.ShortID())
}

func firstOf(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

func resources(l naru.Limits, r *specs.LinuxResources) *specs.LinuxResources {
	if r == nil {
		r = &specs.LinuxResources{}
	}
	r.Memory = memoryLimits(l)
	if l.CPUShares > 0 || l.CPUs != "" || l.MemoryNodes != "" {
		r.CPU = &specs.LinuxCPU{Cpus: l.CPUs, Mems: l.MemoryNodes}
	}
	if l.CPUShares > 0 {
		shares := uint64(l.CPUShares)
		r.CPU.Shares = &shares
	}
	if l.NanoCPUs > 0 {
		// The kernel's period of 100 ms; a quota below 1 ms is refused by it.
		period := uint64(100_000)
		quota := max(l.NanoCPUs*int64(period)/1e9, 1000)
		if r.CPU == nil {
			r.CPU = &specs.LinuxCPU{}
		}
		r.CPU.Period, r.CPU.Quota = &period, &quota
	}
	if l.PIDs > 0 {
		r.Pids = &specs.LinuxPids{Limit: &l.PIDs}
	}
	return r
}

func memoryLimits(l naru.Limits) *specs.LinuxMemory {
	m := &specs.LinuxMemory{}
	for _, f := range []struct {
		bytes int64
		to    **int64
	}{{l.MemoryBytes, &m.Limit}, {l.MemoryReservation, &m.Reservation}, {l.MemorySwap, &m.Swap}} {
		if f.bytes != 0 {
			*f.to = &f.bytes
		}
	}
	if *m == (specs.LinuxMemory{}) {
		return nil
	}
	return m
}

func (e *Engine) idMaps(c Container) idMaps {
	if c.Spec.HostUserNS {
		return idMaps{}
	}
	return e.idMapsAt(c.IDBase)
}

// idMapsAt maps ids to the range that begins at base.
func (e *Engine) idMapsAt(base uint32) idMaps {
	if len(e.cfg.UIDMap) > 0 {
		return idMaps{e.cfg.UIDMap, e.cfg.GIDMap}
	}
	own := []specs.LinuxIDMapping{{ContainerID: 0, HostID: base, Size: idRange}}
	return idMaps{own, own}
}

// mounts are the container's own files, then what the user asked for. Each is id-mapped like the root filesystem:
// root in the container writes as root on the volume, and as nobody everywhere else.
func mounts(in specInput) []specs.Mount {
	out := etcMounts(in.dir, in.ids)
	for _, target := range in.c.Spec.Tmpfs {
		out = append(out, tmpfs(target))
	}
	for _, m := range in.c.Spec.Mounts {
		options := []string{"nosuid", "nodev"}
		if m.ReadOnly {
			options = append(options, "ro")
		}
		out = append(out, bind(in.ids, in.sources[m.Target], m.Target, options...))
	}
	return out
}

func bind(ids idMaps, source, target string, options ...string) specs.Mount {
	return specs.Mount{Type: "bind", Source: source, Destination: target, UIDMappings: ids.uids, GIDMappings: ids.gids,
		Options: append([]string{"rbind", "rprivate"}, options...)}
}

// etcMounts put the files that writeEtc wrote into dir in their places.
func etcMounts(dir string, ids idMaps) []specs.Mount {
	var out []specs.Mount
	for _, name := range etcFiles {
		out = append(out, bind(ids, filepath.Join(dir, name), "/etc/"+name, "nosuid", "nodev", "noexec"))
	}
	return out
}

// tmpfs reads Docker's --tmpfs form, "/path" or "/path:option,option".
func tmpfs(arg string) specs.Mount {
	target, options, _ := strings.Cut(arg, ":")
	m := specs.Mount{Type: "tmpfs", Source: "tmpfs", Destination: target, Options: []string{"nosuid", "nodev", "noexec", "mode=1777"}}
	if options != "" {
		m.Options = append(m.Options, strings.Split(options, ",")...)
	}
	return m
}

// findUser resolves "user", "uid", "user:group" … against the passwd and group files of the root filesystem, and the names
// or numbers of more groups.
func findUser(root image.Rootfs, who string, more []string) (specs.User, error) {
	passwd, closePasswd := openInLayers(root, "etc/passwd")
	defer closePasswd()
	group, closeGroup := openInLayers(root, "etc/group")
	defer closeGroup()
	u, err := user.GetExecUser(who, nil, reader(passwd), reader(group))
	if err != nil {
		return specs.User{}, naru.Errorf(naru.InvalidArgument, "user %q: %w in the image's /etc/passwd and /etc/group", who, err)
	}
	out := specs.User{UID: uint32(u.Uid), GID: uint32(u.Gid)}
	also, err := moreGroups(root, more)
	if err != nil {
		return specs.User{}, err
	}
	for _, g := range append(u.Sgids, also...) {
		if !slices.Contains(out.AdditionalGids, uint32(g)) {
			out.AdditionalGids = append(out.AdditionalGids, uint32(g))
		}
	}
	return out, nil
}

func moreGroups(root image.Rootfs, names []string) ([]int, error) {
	if len(names) == 0 {
		return nil, nil
	}
	group, closeGroup := openInLayers(root, "etc/group")
	defer closeGroup()
	ids, err := user.GetAdditionalGroups(names, reader(group))
	if err != nil {
		return nil, naru.Errorf(naru.InvalidArgument, "more groups: %w", err)
	}
	slices.Sort(ids) // out of a map
	return ids, nil
}

// openInLayers opens the topmost version of a regular file, or returns nil when no layer has one. os.Root keeps an
// image's symlinks from leading out of its layer.
func openInLayers(root image.Rootfs, name string) (*os.File, func()) {
	for _, layer := range append([]string{root.Upper}, root.Lower...) {
		if f := openInLayer(layer, name); f != nil {
			return f, func() { _ = f.Close() } // opened for reading: nothing is lost
		}
	}
	return nil, func() {}
}

func openInLayer(layer, name string) *os.File {
	dir, err := os.OpenRoot(layer)
	if err != nil {
		return nil
	}
	defer func() { _ = dir.Close() }() // a folder, for reading
	if st, err := dir.Stat(name); err != nil || !st.Mode().IsRegular() {
		return nil
	}
	f, err := dir.OpenFile(name, os.O_RDONLY, fs.FileMode(0))
	if err != nil {
		return nil
	}
	return f
}

// reader keeps a nil file from becoming a reader that is not nil.
func reader(f *os.File) io.Reader {
	if f == nil {
		return nil
	}
	return f
}
