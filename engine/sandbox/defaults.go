package sandbox

import (
	"fmt"
	"slices"

	"github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"

	"naru/naru"
)

// Defaults are what differs between containers that are otherwise made as Docker makes them.
type Defaults struct {
	Args, Env []string
	Cwd       string // default "/"
	User      specs.User
	Hostname  string
	Terminal  bool
	ReadOnly  bool // the root
	// UIDMap and GIDMap ask for a user namespace; both or neither.
	UIDMap, GIDMap []specs.LinuxIDMapping
	HostNetwork    bool
	Capabilities   []string // instead of DefaultCapabilities
	Seccomp        string   // a policy as Docker writes one, in JSON, or naru.Unconfined; empty: Docker's own
}

// DefaultSpec makes a spec with Docker's defaults: its capabilities, masked paths, devices and seccomp policy, a
// namespace of every kind (of users only with id maps), and no_new_privs, which Docker leaves off.
func DefaultSpec(d Defaults) (*specs.Spec, error) {
	s := &specs.Spec{
		Version:  specs.Version,
		Root:     &specs.Root{Path: "rootfs", Readonly: d.ReadOnly},
		Hostname: d.Hostname,
		Mounts:   defaultMounts(),
		Process: &specs.Process{
			Terminal: d.Terminal, User: d.User, Args: d.Args, Env: d.Env, Cwd: d.Cwd,
			Capabilities: capabilities(d), NoNewPrivileges: true,
		},
		Linux: &specs.Linux{
			UIDMappings: d.UIDMap, GIDMappings: d.GIDMap,
			Namespaces:    defaultNamespaces(d),
			Resources:     &specs.LinuxResources{Devices: defaultDeviceRules()},
			MaskedPaths:   maskedPaths(),
			ReadonlyPaths: []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"},
		},
	}
	if len(d.GIDMap) > 0 && mapID(d.GIDMap, ttyGroup) < 0 {
		dropTTYGroup(s.Mounts)
	}
	if s.Process.Cwd == "" {
		s.Process.Cwd = "/"
	}
	if !d.HostNetwork {
		// As Docker does: programs that are not root may listen below 1024 and ping, in a network of their own.
		s.Linux.Sysctl = map[string]string{"net.ipv4.ip_unprivileged_port_start": "0", "net.ipv4.ping_group_range": "0 2147483647"}
		if len(d.GIDMap) > 0 {
			delete(s.Linux.Sysctl, "net.ipv4.ping_group_range") // its groups would have to be mapped, all of them
		}
	}
	var err error
	s.Linux.Seccomp, err = seccompPolicy(d.Seccomp, s)
	return s, err
}

// seccompPolicy resolves what a policy says of capabilities, kernels and processors for the spec.
func seccompPolicy(text string, s *specs.Spec) (policy *specs.LinuxSeccomp, err error) {
	switch text {
	case naru.Unconfined:
		return nil, nil
	case "":
		policy, err = seccomp.GetDefaultProfile(s)
	default:
		if policy, err = seccomp.LoadProfile(text, s); err != nil {
			return nil, naru.Errorf(naru.InvalidArgument, "seccomp policy: %w", err)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("make the seccomp policy: %w", err)
	}
	return policy, nil
}

func defaultNamespaces(d Defaults) []specs.LinuxNamespace {
	ns := []specs.LinuxNamespace{{Type: specs.MountNamespace}, {Type: specs.PIDNamespace}, {Type: specs.IPCNamespace},
		{Type: specs.UTSNamespace}, {Type: specs.CgroupNamespace}}
	if !d.HostNetwork {
		ns = append(ns, specs.LinuxNamespace{Type: specs.NetworkNamespace})
	}
	if len(d.UIDMap) > 0 {
		ns = append(ns, specs.LinuxNamespace{Type: specs.UserNamespace})
	}
	return ns
}

func defaultMounts() []specs.Mount {
	return []specs.Mount{
		{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "strictatime", "mode=755", "size=65536k"}},
		{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}},
		{Destination: "/dev/shm", Type: "tmpfs", Source: "shm", Options: []string{"nosuid", "noexec", "nodev", "mode=1777", "size=65536k"}},
		{Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"nosuid", "noexec", "nodev", "ro"}},
		{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: []string{"nosuid", "noexec", "nodev", "ro"}},
	}
}

// ttyGroup is the group of terminals, by a number that distributions agree on.
const ttyGroup = 5

// dropTTYGroup leaves terminals to root's group.
func dropTTYGroup(mounts []specs.Mount) {
	for i := range mounts {
		mounts[i].Options = slices.DeleteFunc(mounts[i].Options, func(o string) bool { return o == "gid=5" })
	}
}

// DefaultCapabilities are those that a container has unless it asks for others: Docker's.
func DefaultCapabilities() []string {
	return []string{"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SETGID",
		"CAP_SETUID", "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL", "CAP_AUDIT_WRITE"}
}

// capabilities give a user that is not root the bounding set only: what a program with file capabilities may gain.
func capabilities(d Defaults) *specs.LinuxCapabilities {
	caps := d.Capabilities
	if caps == nil {
		caps = DefaultCapabilities()
	}
	if d.User.UID != 0 {
		return &specs.LinuxCapabilities{Bounding: caps}
	}
	return &specs.LinuxCapabilities{Bounding: caps, Effective: caps, Permitted: caps}
}

// defaultDeviceRules let a container make any device node but use only the harmless ones.
func defaultDeviceRules() []specs.LinuxDeviceCgroup {
	return append([]specs.LinuxDeviceCgroup{{Type: "a", Access: "rwm"}}, AllowedDevices()...)
}

// AllowedDevices are the rules that every container has: those of the devices that the runtime-spec promises to it.
func AllowedDevices() []specs.LinuxDeviceCgroup {
	n := func(v int64) *int64 { return &v }
	rules := []specs.LinuxDeviceCgroup{
		{Allow: true, Type: "c", Access: "m"}, {Allow: true, Type: "b", Access: "m"},
		{Allow: true, Type: "c", Major: n(136), Access: "rwm"}, // terminals
	}
	for _, d := range append(defaultDevices(), specs.LinuxDevice{Major: 5, Minor: 2} /* ptmx */) {
		rules = append(rules, specs.LinuxDeviceCgroup{Allow: true, Type: "c", Major: n(d.Major), Minor: n(d.Minor), Access: "rwm"})
	}
	return rules
}

func maskedPaths() []string {
	return []string{"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
		"/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/devices/virtual/powercap", "/sys/firmware"}
}
