package sandbox

import (
	"path"
	"reflect"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"naru/naru"
)

// validate refuses a spec that is not whole, or that asks for what this package does not do: nothing is ignored.
func validate(s *specs.Spec) error {
	switch {
	case s == nil:
		return invalid("spec", "is missing")
	case s.Process == nil:
		return invalid("process", "is missing")
	case s.Linux == nil:
		return invalid("linux", "is missing")
	}
	if err := refuse("", s, "Solaris", "Windows", "VM", "ZOS", "FreeBSD"); err != nil {
		return err
	}
	if err := validateProcess(s.Process); err != nil {
		return err
	}
	if err := validateLinux(s.Linux); err != nil {
		return err
	}
	return validateNamespaces(s)
}

func invalid(field, what string) error {
	return naru.Errorf(naru.InvalidArgument, "spec field %s %s", field, what)
}

// refuse finds fields of the struct at v that are set though they are not supported.
func refuse(prefix string, v any, fields ...string) error {
	s := reflect.ValueOf(v).Elem()
	for _, name := range fields {
		if f := s.FieldByName(name); !f.IsZero() && !(f.Kind() == reflect.Map && f.Len() == 0) {
			return naru.Errorf(naru.Unimplemented, "spec field %s is not supported", prefix+jsonName(s.Type(), name))
		}
	}
	return nil
}

func jsonName(t reflect.Type, name string) string {
	f, _ := t.FieldByName(name)
	tag, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	return tag
}

func validateProcess(p *specs.Process) error {
	switch {
	case len(p.Args) == 0 || p.Args[0] == "":
		return invalid("process.args", "names no program")
	case !path.IsAbs(p.Cwd):
		return invalid("process.cwd", "is not absolute: "+p.Cwd)
	}
	for _, l := range p.Rlimits {
		if _, known := rlimits()[l.Type]; !known {
			return invalid("process.rlimits", "has an unknown limit "+l.Type)
		}
	}
	for _, s := range append(slices.Clone(p.Args), p.Env...) {
		if strings.ContainsRune(s, 0) {
			return invalid("process.args or process.env", "contains a NUL byte")
		}
	}
	return refuse("process.", p, "CommandLine", "ApparmorProfile", "Scheduler", "SelinuxLabel", "IOPriority", "ExecCPUAffinity")
}

func validateLinux(l *specs.Linux) error {
	if !slices.Contains([]string{"", "private", "rprivate", "slave", "rslave"}, l.RootfsPropagation) {
		return naru.Errorf(naru.Unimplemented, "spec field linux.rootfsPropagation %q is not supported", l.RootfsPropagation)
	}
	if err := refuse("linux.", l, "NetDevices", "MountLabel", "IntelRdt", "MemoryPolicy", "Personality", "TimeOffsets"); err != nil {
		return err
	}
	if r := l.Resources; r != nil {
		if err := refuse("linux.resources.", r, "Network", "Rdma"); err != nil {
			return err
		}
		if r.Memory != nil {
			if err := refuse("linux.resources.memory.", r.Memory, "Kernel", "KernelTCP"); err != nil {
				return err
			}
		}
	}
	return nil
}

// validateNamespaces wants a new mount namespace, id maps where a user namespace is, and of existing ones beside a new
// user namespace at most one: from inside that, only namespaces of its own could be entered.
func validateNamespaces(s *specs.Spec) error {
	joined := 0
	for _, ns := range s.Linux.Namespaces {
		if _, known := cloneFlags()[ns.Type]; !known {
			return naru.Errorf(naru.Unimplemented, "spec field linux.namespaces: type %q is not supported", ns.Type)
		}
		if ns.Path == "" {
			continue
		}
		if ns.Type == specs.UserNamespace || ns.Type == specs.MountNamespace {
			return naru.Errorf(naru.Unimplemented, "spec field linux.namespaces: a %s namespace cannot have a path", ns.Type)
		}
		if joined++; joined > 1 && hasNamespace(s, specs.UserNamespace) {
			return naru.Errorf(naru.Unimplemented, "spec field linux.namespaces: only one can have a path beside a user namespace")
		}
	}
	switch maps := s.Linux.UIDMappings; {
	case !hasNamespace(s, specs.MountNamespace):
		return invalid("linux.namespaces", "lacks a mount namespace")
	case hasNamespace(s, specs.UserNamespace) != (len(maps) > 0) || len(maps) > 0 != (len(s.Linux.GIDMappings) > 0):
		return invalid("linux.uidMappings and linux.gidMappings", "belong together with a user namespace")
	case len(maps) > 0 && (mapID(maps, 0) < 0 || mapID(s.Linux.GIDMappings, 0) < 0):
		return invalid("linux.uidMappings and linux.gidMappings", "must map root (container id 0)")
	case mapID(maps, s.Process.User.UID) < 0 || mapID(s.Linux.GIDMappings, s.Process.User.GID) < 0:
		return invalid("process.user", "has an id that is not among the container's: add it to the id mappings")
	case s.Hostname != "" && !hasNamespace(s, specs.UTSNamespace):
		return invalid("hostname", "needs a UTS namespace")
	}
	return nil
}

func hasNamespace(s *specs.Spec, t specs.LinuxNamespaceType) bool {
	return slices.ContainsFunc(s.Linux.Namespaces, func(ns specs.LinuxNamespace) bool { return ns.Type == t })
}

// newNamespace says whether the container gets a namespace of its own, rather than the host's or another's.
func newNamespace(s *specs.Spec, t specs.LinuxNamespaceType) bool {
	return slices.Contains(s.Linux.Namespaces, specs.LinuxNamespace{Type: t})
}
