package sandbox

import (
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"naru/engine/sandbox/program"
	"naru/naru"
)

// facts is what a plan must know of the host.
type facts struct {
	Unified bool
	Cgroups map[string]string // cgroup v1: hierarchy name to the container's folder in it
	Tasks   int               // how many groups of cgroup v1 the process is to enter
	UserNS  bool              // naru itself runs in a user namespace: nobody there may make device nodes
}

// plan is a program with the descriptors that go along: pure values, opened by open.
type plan struct {
	ops     []program.Op
	tasks   int // descriptors that come before the sources
	sources []source
	hooks   []hook
	gate    int // the operation
	idmaps  idmaps
}

// source is a place on the host that becomes a detached mount.
type source struct {
	path      string
	op        int // the operation that attaches it
	recursive bool
	deep      bool // set and clear reach the whole tree
	idmap     bool // by the container's ids, or by own
	idmapDeep bool
	own       *idmaps
	spread    uint64 // its propagation, MS_PRIVATE when 0
	set       uint64
	clear     uint64
}

// planContainer turns a spec into a program. It looks at nothing but its arguments.
func planContainer(cfg *Config, host facts) (*plan, error) {
	s := cfg.Spec
	if s.Hooks != nil && cfg.OCI.HookState == nil {
		return nil, naru.Errorf(naru.Unimplemented, "spec field hooks is not supported")
	}
	p := &plan{idmaps: idmapsOf(s.Linux), tasks: host.Tasks}
	p.add(planEntry(host.Tasks)...)
	if host.Tasks > 0 && newNamespace(s, specs.CgroupNamespace) { // which the process is born in where its group is there before
		p.add(program.Op{Kind: program.CgroupNamespace})
	}
	p.planClocks(s)
	if err := p.planRoot(cfg); err != nil {
		return nil, err
	}
	for i := range s.Mounts {
		if err := p.planMount(s, &s.Mounts[i], host); err != nil {
			return nil, err
		}
	}
	if err := p.planDevices(s, p.idmaps.any() || host.UserNS); err != nil {
		return nil, err
	}
	if cfg.MakeCwd {
		p.add(program.Op{Kind: program.Mkdir, Path: s.Process.Cwd})
	}
	p.planGuards(cfg)
	p.planNames(s)
	if wantsConsole(cfg.Console, s.Process) {
		p.add(consoleOp(s.Process, "/dev/console"))
	}
	if s.Root != nil && s.Root.Readonly {
		p.add(program.Op{Kind: program.ReadOnly, Path: "/", Flags: program.InPlace})
	}
	p.planPivot(cfg)
	p.add(planKeyring(cfg.OCI.KeepKeyring)...)
	process, err := planProcess(s.Process, s.Linux, cfg.Filters, cfg.Init)
	p.add(keepFiles(process, cfg.OCI.Keep)...)
	return p, err
}

func (p *plan) add(ops ...program.Op) { p.ops = append(p.ops, ops...) }

// addSource adds an operation that attaches a place of the host.
func (p *plan) addSource(op program.Op, src source) {
	op.FD, src.op = p.tasks+len(p.sources), len(p.ops)
	op.Source = src.path
	p.sources = append(p.sources, src)
	p.add(op)
}

// planEntry has the process enter its groups of cgroup v1, whose tasks files are the first descriptors.
func planEntry(tasks int) (ops []program.Op) {
	for i := range tasks {
		ops = append(ops, program.Op{Kind: program.Enter, FD: i})
	}
	return ops
}

const rootDir = "r"

// planRoot puts the layers together. In a user namespace each is idmapped, so that files on disk keep the image's
// ids.
func (p *plan) planRoot(cfg *Config) error {
	r := cfg.Rootfs
	if sharesMounts(cfg.Spec.Linux) {
		if r.Path == "" || !r.Owned {
			return naru.Errorf(naru.Unimplemented, "spec field linux.namespaces: without a new mount namespace the root is a folder of its own, no layers")
		}
		p.add(program.Op{Kind: program.Layers, Flags: program.InPlace}, program.Op{Kind: program.Root, Path: r.Path, Flags: program.InPlace})
		return nil
	}
	p.add(program.Op{Kind: program.Layers})
	attach := func(dir, at string) {
		p.addSource(program.Op{Kind: program.Attach, Path: at}, source{path: dir, idmap: p.idmaps.change()})
	}
	switch {
	case r.Path != "" && r.Owned:
		p.addSource(program.Op{Kind: program.Attach, Path: rootDir}, source{path: r.Path, recursive: true})
	case r.Path != "":
		attach(r.Path, rootDir)
	case len(r.Lower) == 0:
		return naru.Errorf(naru.InvalidArgument, "rootfs: neither layers nor a path")
	case r.Upper == "" && len(r.Lower) == 1:
		attach(r.Lower[0], rootDir)
	default:
		if err := p.planOverlay(r, cfg.Spec.Linux.MountLabel, attach); err != nil {
			return err
		}
	}
	p.add(program.Op{Kind: program.Root, Path: rootDir})
	return nil
}

// planOverlay keeps an overlay's marks in user.* attributes always: trusted.* ones are only for the host's root, and
// a layer must mean the same with a user namespace and without.
func (p *plan) planOverlay(r Rootfs, label string, attach func(dir, at string)) error {
	lower := make([]string, len(r.Lower))
	for i, dir := range r.Lower {
		lower[i] = strconv.Itoa(i)
		attach(dir, lower[i])
	}
	options := "lowerdir=" + strings.Join(lower, ":")
	if r.Upper != "" {
		dir := filepath.Dir(r.Upper)
		if filepath.Dir(r.Work) != dir {
			return naru.Errorf(naru.InvalidArgument, "rootfs: upper %s and work %s are not in one folder", r.Upper, r.Work)
		}
		attach(dir, "u")
		options += ",upperdir=u/" + filepath.Base(r.Upper) + ",workdir=u/" + filepath.Base(r.Work)
	}
	p.add(program.Op{Kind: program.Overlay, Path: rootDir, Data: labelled("overlay", options+",userxattr", label)})
	return nil
}

func (p *plan) planMount(s *specs.Spec, m *specs.Mount, host facts) error {
	o, err := parseOptions(m.Destination, m.Options)
	if err != nil {
		return err
	}
	switch {
	case !path.IsAbs(m.Destination):
		return naru.Errorf(naru.InvalidArgument, "mount %q: the destination is not absolute", m.Destination)
	case (len(m.UIDMappings) > 0 || len(m.GIDMappings) > 0) && !o.bind && m.Type != "bind":
		return naru.Errorf(naru.Unimplemented, "mount %s: id mappings are only supported on binds", m.Destination)
	case o.flags&unix.MS_REMOUNT != 0:
		p.planRemount(m, o)
		return nil
	case o.bind || m.Type == "bind":
		return p.planBind(m, o)
	case m.Type == "cgroup" || m.Type == "cgroup2":
		if host.Unified && host.UserNS && p.bindsSysfs(s) {
			// The host's comes along with its sysfs, and the kernel mounts nothing on itself.
			p.add(program.Op{Kind: program.Mount, Path: m.Destination, Type: "tmpfs", Source: "cgroup", Flags: unix.MS_RDONLY, Data: "mode=755"})
		}
		return p.planCgroupMount(m, o, host)
	case m.Type == "sysfs" && p.bindsSysfs(s):
		// The kernel mounts sysfs only for who owns the network namespace: the host's stands in, without what the
		// host has mounted in it.
		return p.planBind(&specs.Mount{Destination: m.Destination, Source: "/sys"}, hostSysfs(o, host))
	}
	op := program.Op{Kind: program.Mount, Path: m.Destination, Type: m.Type, Source: m.Source, Flags: o.flags,
		Data: labelled(m.Type, o.data, s.Linux.MountLabel)}
	if o.copyUp {
		op.Kind = program.CopyUp
	}
	p.add(op)
	if o.spread != 0 {
		p.add(program.Op{Kind: program.Propagate, Path: m.Destination, Flags: o.spread})
	}
	return nil
}

// bindsSysfs says whether the host's sysfs stands in for the container's.
func (p *plan) bindsSysfs(s *specs.Spec) bool {
	return p.idmaps.any() && !newNamespace(s, specs.NetworkNamespace)
}

// hostSysfs are the options of the host's sysfs. In a user namespace the kernel lets nobody look below what the host has
// mounted in it: there it comes along.
func hostSysfs(o mountOptions, host facts) mountOptions {
	return mountOptions{bind: true, set: o.set | unix.MOUNT_ATTR_RDONLY, recursive: host.UserNS, deep: host.UserNS}
}

// planRemount changes a mount that is there: a bind's own flags, or what its filesystem does everywhere.
func (p *plan) planRemount(m *specs.Mount, o mountOptions) {
	if o.bind || m.Type == "bind" {
		o.flags |= unix.MS_BIND
	}
	p.add(program.Op{Kind: program.Mount, Path: m.Destination, Type: m.Type, Source: m.Source, Flags: o.flags, Data: o.data})
}

// ownMaps are the id maps that a mount brings along, nil when it has none or the container's.
func (p *plan) ownMaps(m *specs.Mount) (*idmaps, error) {
	switch own := (idmaps{true, m.UIDMappings, m.GIDMappings}); {
	case len(own.uids) == 0 && len(own.gids) == 0:
		return nil, nil
	case len(own.uids) == 0 || len(own.gids) == 0:
		return nil, naru.Errorf(naru.InvalidArgument, "mount %s: uidMappings and gidMappings belong together", m.Destination)
	case slices.Equal(own.uids, p.idmaps.uids) && slices.Equal(own.gids, p.idmaps.gids):
		return nil, nil
	default:
		return &own, nil
	}
}

func (p *plan) planBind(m *specs.Mount, o mountOptions) error {
	if !filepath.IsAbs(m.Source) {
		return naru.Errorf(naru.InvalidArgument, "mount %s: the source %q is not absolute", m.Destination, m.Source)
	}
	own, err := p.ownMaps(m)
	if err != nil {
		return err
	}
	p.addSource(program.Op{Kind: program.Bind, Path: m.Destination}, source{
		path: m.Source, recursive: o.recursive, deep: o.deep, spread: o.spread, set: o.set, clear: o.clear,
		idmap: (o.idmap || len(m.UIDMappings) > 0) && (p.idmaps.change() || own != nil), idmapDeep: o.idmapDeep, own: own,
	})
	return nil
}

// planCgroupMount shows the container its own cgroup: the one hierarchy of v2, or a folder with those of v1.
func (p *plan) planCgroupMount(m *specs.Mount, o mountOptions, host facts) error {
	if host.Unified {
		p.add(program.Op{Kind: program.Mount, Path: m.Destination, Type: "cgroup2", Source: "cgroup", Flags: o.flags, Data: o.data})
		return nil
	}
	const quiet = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	p.add(program.Op{Kind: program.Mount, Path: m.Destination, Type: "tmpfs", Source: "cgroup", Flags: quiet, Data: "mode=755"})
	for _, name := range slices.Sorted(maps.Keys(host.Cgroups)) {
		at := path.Join(m.Destination, name)
		p.addSource(program.Op{Kind: program.Bind, Path: at}, source{path: host.Cgroups[name], set: o.set, clear: o.clear})
		if alone := strings.Split(name, ","); len(alone) > 1 {
			for _, controller := range alone {
				p.add(program.Op{Kind: program.Symlink, Path: path.Join(m.Destination, controller), Source: name})
			}
		}
	}
	p.add(program.Op{Kind: program.ReadOnly, Path: m.Destination, Flags: program.InPlace})
	return nil
}

// planGuards hides and protects parts of the root, when everything is in its place.
func (p *plan) planGuards(cfg *Config) {
	l := cfg.Spec.Linux
	for _, key := range slices.Sorted(maps.Keys(l.Sysctl)) {
		file := "/proc/sys/" + strings.ReplaceAll(key, ".", "/")
		p.add(program.Op{Kind: program.Sysctl, Path: file, Data: l.Sysctl[key]})
	}
	for _, path := range l.MaskedPaths {
		p.add(program.Op{Kind: program.Mask, Path: path})
	}
	for _, path := range l.ReadonlyPaths {
		p.add(program.Op{Kind: program.ReadOnly, Path: path})
	}
}

func (p *plan) planNames(s *specs.Spec) {
	if s.Hostname != "" {
		p.add(program.Op{Kind: program.Hostname, Data: s.Hostname})
	}
	if s.Domainname != "" {
		p.add(program.Op{Kind: program.Domainname, Data: s.Domainname})
	}
}
