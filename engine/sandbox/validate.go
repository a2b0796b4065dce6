package sandbox

import (
	"fmt"
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
	seen := map[string]bool{}
	for _, l := range p.Rlimits {
		if seen[l.Type] {
			return invalid("process.rlimits", "names "+l.Type+" twice")
		}
		seen[l.Type] = true
		if _, known := rlimits()[l.Type]; !known {
			return invalid("process.rlimits", "has an unknown limit "+l.Type)
		}
	}
	for _, s := range append(slices.Clone(p.Args), p.Env...) {
		if strings.ContainsRune(s, 0) {
			return invalid("process.args or process.env", "contains a NUL byte")
		}
	}
	if err := validateAttributes(p); err != nil {
		return err
	}
	return refuse("process.", p, "CommandLine")
}

func validateLinux(l *specs.Linux) error {
	if l.RootfsPropagation != "" && propagation(l.RootfsPropagation) == 0 {
		return invalid("linux.rootfsPropagation", fmt.Sprintf("%q is none that Linux has", l.RootfsPropagation))
	}
	if err := refuse("linux.", l, "NetDevices", "IntelRdt"); err != nil {
		return err
	}
	if p := l.Personality; p != nil {
		if _, known := personalities()[p.Domain]; !known || len(p.Flags) > 0 {
			return invalid("linux.personality", fmt.Sprintf("%s %v: want LINUX or LINUX32, and no flags", p.Domain, p.Flags))
		}
	}
	for field, paths := range map[string][]string{"linux.maskedPaths": l.MaskedPaths, "linux.readonlyPaths": l.ReadonlyPaths} {
		if i := slices.IndexFunc(paths, func(p string) bool { return !path.IsAbs(p) }); i >= 0 {
			return invalid(field, fmt.Sprintf("has %q, which is not absolute", paths[i]))
		}
	}
	return validateResources(l.Resources)
}

func validateResources(r *specs.LinuxResources) error {
	if r == nil {
		return nil
	}
	for device, most := range r.Rdma {
		if most == (specs.LinuxRdma{}) {
			return invalid("linux.resources.rdma", "limits nothing of "+device)
		}
	}
	if b := r.BlockIO; b != nil {
		for _, w := range b.WeightDevice {
			if w.Weight == nil && w.LeafWeight == nil {
				return invalid("linux.resources.blockIO.weightDevice", fmt.Sprintf("has no weight for %d:%d", w.Major, w.Minor))
			}
		}
	}
	if r.Memory == nil {
		return nil
	}
	return refuse("linux.resources.memory.", r.Memory, "Kernel", "KernelTCP")
}

// validateNamespaces wants each once, and id maps where a user namespace is to be made. One that is joined has its own:
// what a spec says beside it does not count.
func validateNamespaces(s *specs.Spec) error {
	seen := map[specs.LinuxNamespaceType]bool{}
	for _, ns := range s.Linux.Namespaces {
		if _, known := cloneFlags()[ns.Type]; !known {
			return invalid("linux.namespaces", fmt.Sprintf("has an unknown type %q", ns.Type))
		}
		if seen[ns.Type] {
			return invalid("linux.namespaces", fmt.Sprintf("names %q twice", ns.Type))
		}
		if seen[ns.Type] = true; ns.Path != "" && !path.IsAbs(ns.Path) {
			return invalid("linux.namespaces", fmt.Sprintf("path %q is not absolute", ns.Path))
		}
	}
	if s.Hostname != "" && !hasNamespace(s.Linux, specs.UTSNamespace) {
		return invalid("hostname", "needs a UTS namespace")
	}
	if err := validateClocks(s); err != nil {
		return err
	}
	return validateIDs(s)
}

func validateIDs(s *specs.Spec) error {
	l := s.Linux
	if hasNamespace(l, specs.UserNamespace) && !newNamespace(s, specs.UserNamespace) {
		return nil
	}
	switch maps := l.UIDMappings; {
	case hasNamespace(l, specs.UserNamespace) != (len(maps) > 0) || len(maps) > 0 != (len(l.GIDMappings) > 0):
		return invalid("linux.uidMappings and linux.gidMappings", "belong together with a user namespace")
	case checkMaps("linux.uidMappings", maps) != nil:
		return checkMaps("linux.uidMappings", maps)
	case checkMaps("linux.gidMappings", l.GIDMappings) != nil:
		return checkMaps("linux.gidMappings", l.GIDMappings)
	case len(maps) > 0 && (mapID(maps, 0) < 0 || mapID(l.GIDMappings, 0) < 0):
		return invalid("linux.uidMappings and linux.gidMappings", "must map root (container id 0)")
	case mapID(maps, s.Process.User.UID) < 0 || mapID(l.GIDMappings, s.Process.User.GID) < 0:
		return invalid("process.user", "has an id that is not among the container's: add it to the id mappings")
	}
	return nil
}

func hasNamespace(l *specs.Linux, t specs.LinuxNamespaceType) bool {
	return slices.ContainsFunc(l.Namespaces, func(ns specs.LinuxNamespace) bool { return ns.Type == t })
}

// newNamespace says whether the container gets a namespace of its own, rather than the host's or another's.
func newNamespace(s *specs.Spec, t specs.LinuxNamespaceType) bool {
	return slices.Contains(s.Linux.Namespaces, specs.LinuxNamespace{Type: t})
}
