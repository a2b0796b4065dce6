package engine

import (
	"errors"
	"fmt"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"naru/engine/sandbox"
	"naru/naru"
)

// checkIsolation refuses what means nothing, or would reach the host rather than the container.
func (s ContainerSpec) checkIsolation() error {
	i := s.Isolation
	_, capErr := capabilities(i)
	errs := []error{capErr, s.checkNamespaces(), s.checkSysctls()}
	for _, d := range i.Devices {
		errs = append(errs, checkDevice(d))
	}
	for _, r := range i.DeviceRules {
		_, err := parseDeviceRule(r)
		errs = append(errs, err)
	}
	if i.OOMScoreAdj < -1000 || i.OOMScoreAdj > 1000 {
		errs = append(errs, naru.Errorf(naru.InvalidArgument, "oom score adjustment %d: it is from -1000 to 1000", i.OOMScoreAdj))
	}
	if i.ShmBytes < 0 {
		errs = append(errs, naru.Errorf(naru.InvalidArgument, "size of /dev/shm: %d is negative", i.ShmBytes))
	}
	if i.Seccomp != "" { // a policy is read for a process: here for any
		_, err := sandbox.DefaultSpec(sandbox.Defaults{Seccomp: i.Seccomp})
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// checkNamespaces refuses namespaces that cannot be had together.
func (s ContainerSpec) checkNamespaces() error {
	i := s.Isolation
	switch {
	case i.PID == naru.HostNamespace && !s.HostUserNS:
		return naru.Errorf(naru.InvalidArgument, "the host's processes need the host's user namespace as well: add --userns host, or leave out --pid host")
	case i.PID != "" && i.PID != naru.HostNamespace && !strings.HasPrefix(i.PID, containerNetwork):
		return naru.Errorf(naru.InvalidArgument, "pid namespace %q: it is host or container:NAME, or left out", i.PID)
	case i.IPC != "" && i.IPC != naru.HostNamespace:
		return naru.Errorf(naru.InvalidArgument, "ipc namespace %q: it is host, or left out; let containers share a folder for their memory with -v instead", i.IPC)
	case i.UTS != "" && i.UTS != naru.HostNamespace:
		return naru.Errorf(naru.InvalidArgument, "uts namespace %q: it is host, or left out", i.UTS)
	case i.UTS != "" && (s.Hostname != "" || i.Domainname != ""):
		return naru.Errorf(naru.InvalidArgument, "with --uts host the host's name is the container's: leave out --hostname and --domainname")
	case i.IPC != "" && i.ShmBytes > 0:
		return naru.Errorf(naru.InvalidArgument, "with --ipc host /dev/shm is the host's: leave out --shm-size")
	}
	return nil
}

// ipcSysctls are the settings of the kernel that an IPC namespace has of its own.
var ipcSysctls = []string{"kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall", "kernel.shmmax",
	"kernel.shmmni", "kernel.shm_rmid_forced"}

// checkSysctls lets through what belongs to the container's own namespaces.
func (s ContainerSpec) checkSysctls() error {
	for name := range s.Isolation.Sysctls {
		key := strings.ReplaceAll(name, "/", ".")
		net, ipc := strings.HasPrefix(key, "net."), slices.Contains(ipcSysctls, key) || strings.HasPrefix(key, "fs.mqueue.")
		switch {
		case strings.Contains(key, ".."):
			return naru.Errorf(naru.InvalidArgument, "sysctl %q: there is no such setting", name)
		case net && len(s.joins()) == 0 && s.Network != NoNetwork:
			return naru.Errorf(naru.InvalidArgument, "sysctl %s would change the network %s, which is not the container's own", name, s.Network)
		case ipc && s.Isolation.IPC != "":
			return naru.Errorf(naru.InvalidArgument, "sysctl %s would change the host: leave out it or --ipc host", name)
		case !net && !ipc:
			return naru.Errorf(naru.InvalidArgument, "sysctl %s is the whole machine's: a container can set net.*, fs.mqueue.* and the sizes of System V IPC; set it on the host with sysctl", name)
		}
	}
	return nil
}

// capabilities are those that the process is bounded by; nil means the default.
func capabilities(i naru.Isolation) ([]string, error) {
	if len(i.CapAdd)+len(i.CapDrop) == 0 {
		return nil, nil
	}
	add, err := capNames(i.CapAdd)
	if err != nil {
		return nil, err
	}
	drop, err := capNames(i.CapDrop)
	if err != nil {
		return nil, err
	}
	caps := sandbox.DefaultCapabilities()
	switch {
	case slices.Contains(add, allCaps):
		caps = sandbox.Capabilities()
	case slices.Contains(drop, allCaps):
		caps = []string{}
	}
	dropped := func(name string) bool { return slices.Contains(drop, name) }
	caps = slices.DeleteFunc(caps, dropped)
	for _, name := range add {
		if name != allCaps && !slices.Contains(caps, name) && !dropped(name) {
			caps = append(caps, name)
		}
	}
	return caps, nil
}

const allCaps = "ALL"

// capNames writes each name as the kernel does.
func capNames(names []string) ([]string, error) {
	var out []string
	for _, name := range names {
		full := strings.ToUpper(name)
		if full != allCaps && !strings.HasPrefix(full, "CAP_") {
			full = "CAP_" + full
		}
		if full != allCaps && !slices.Contains(sandbox.Capabilities(), full) {
			return nil, naru.Errorf(naru.InvalidArgument, "capability %q: Linux has none of this name; see capabilities(7)", name)
		}
		out = append(out, full)
	}
	return out, nil
}

func checkDevice(d naru.Device) error {
	switch {
	case !path.IsAbs(d.Host) || d.Inside != "" && !path.IsAbs(d.Inside):
		return naru.Errorf(naru.InvalidArgument, "device %s:%s: both paths are absolute", d.Host, d.Inside)
	case strings.Trim(d.Access, "rwm") != "":
		return naru.Errorf(naru.InvalidArgument, "device %s: access %q is not made of r, w and m", d.Host, d.Access)
	}
	return nil
}

var deviceRule = regexp.MustCompile(`^([acb]) (\d+|\*):(\d+|\*) ([rwm]{1,3})$`)

// parseDeviceRule reads what may be done to devices, as docker writes it.
func parseDeviceRule(text string) (specs.LinuxDeviceCgroup, error) {
	m := deviceRule.FindStringSubmatch(text)
	if m == nil {
		return specs.LinuxDeviceCgroup{}, naru.Errorf(naru.InvalidArgument, "device rule %q: write TYPE MAJOR:MINOR ACCESS, such as 'c 10:200 rwm', with * for any number", text)
	}
	rule := specs.LinuxDeviceCgroup{Allow: true, Type: m[1], Access: m[4]}
	for to, digits := range map[**int64]string{&rule.Major: m[2], &rule.Minor: m[3]} {
		if digits == "*" {
			continue
		}
		n, err := strconv.ParseInt(digits, 10, 32)
		if err != nil {
			return rule, naru.Errorf(naru.InvalidArgument, "device rule %q: %s is no number of a device", text, digits)
		}
		*to = &n
	}
	return rule, nil
}

// isolate changes a spec with the default isolation to the container's.
func (in specInput) isolate(s *specs.Spec) error {
	i := in.c.Spec.Isolation
	confine(s.Process, i)
	for key, value := range i.Sysctls {
		if s.Linux.Sysctl == nil {
			s.Linux.Sysctl = map[string]string{}
		}
		s.Linux.Sysctl[strings.ReplaceAll(key, "/", ".")] = value
	}
	if i.Unmasked {
		s.Linux.MaskedPaths, s.Linux.ReadonlyPaths = nil, nil
	}
	s.Domainname = i.Domainname
	if i.UTS != "" {
		s.Hostname = ""
		leave(s, specs.UTSNamespace)
	}
	if i.PID == naru.HostNamespace {
		leave(s, specs.PIDNamespace)
	}
	if i.IPC != "" {
		leave(s, specs.IPCNamespace)
	}
	for _, ns := range in.joined {
		leave(s, ns.Type)
		s.Linux.Namespaces = append(s.Linux.Namespaces, ns)
	}
	in.shareMemory(s)
	for _, text := range i.DeviceRules {
		rule, err := parseDeviceRule(text)
		if err != nil {
			return err
		}
		s.Linux.Resources.Devices = append(s.Linux.Resources.Devices, rule)
	}
	for _, d := range in.devices {
		s.Mounts = append(s.Mounts, d.mount())
		s.Linux.Resources.Devices = append(s.Linux.Resources.Devices, d.rule())
	}
	return nil
}

// confine changes a process with the default isolation to the container's.
func confine(p *specs.Process, i naru.Isolation) {
	p.NoNewPrivileges = !i.NewPrivileges
	p.ApparmorProfile, p.SelinuxLabel = i.AppArmor, i.SELinux
	for _, u := range i.Ulimits {
		// -1 is all bits: what setrlimit takes for none
		p.Rlimits = append(p.Rlimits, specs.POSIXRlimit{Type: "RLIMIT_" + strings.ToUpper(u.Name), Soft: uint64(u.Soft), Hard: uint64(u.Hard)})
	}
	if i.OOMScoreAdj != 0 {
		p.OOMScoreAdj = &i.OOMScoreAdj
	}
}

// leave makes no new namespace of a kind: the host's stays.
func leave(s *specs.Spec, kind specs.LinuxNamespaceType) {
	s.Linux.Namespaces = slices.DeleteFunc(s.Linux.Namespaces, func(ns specs.LinuxNamespace) bool { return ns.Type == kind })
}

// shareMemory gives /dev/shm its size; in the host's IPC namespace what is there is the host's.
func (in specInput) shareMemory(s *specs.Spec) {
	i := in.c.Spec.Isolation
	for n := range s.Mounts {
		m := &s.Mounts[n]
		switch {
		case i.IPC != "" && slices.Contains(in.hostIPC, m.Destination):
			*m = specs.Mount{Type: "bind", Source: m.Destination, Destination: m.Destination,
				Options: []string{"rbind", "rprivate", "nosuid", "noexec", "nodev"}}
		case m.Destination == "/dev/shm" && i.ShmBytes > 0:
			m.Options = slices.DeleteFunc(m.Options, func(o string) bool { return strings.HasPrefix(o, "size=") })
			m.Options = append(m.Options, fmt.Sprintf("size=%d", i.ShmBytes))
		}
	}
	if i.IPC != "" { // message queues cannot be mounted anew by who does not own the namespace
		s.Mounts = slices.DeleteFunc(s.Mounts, func(m specs.Mount) bool { return m.Type == "mqueue" })
	}
}

// hostIPC are the folders through which the host's processes share memory and messages.
func hostIPC() (there []string) {
	for _, dir := range []string{"/dev/shm", "/dev/mqueue"} {
		if _, err := os.Stat(dir); err == nil {
			there = append(there, dir)
		}
	}
	return there
}
