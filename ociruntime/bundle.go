package ociruntime

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/opencontainers/runtime-spec/specs-go"

	"naru/engine/sandbox"
	"naru/naru"
)

// configName is the file of a bundle that says what to run.
const configName = "config.json"

// maxConfig bounds what is read as a configuration.
const maxConfig = 16 << 20

// readBundle reads a bundle's configuration and makes its paths absolute. Properties that it does not know are passed
// over, as the spec asks; what is known but not to be had is refused by package sandbox.
func readBundle(bundle string) (dir string, s *specs.Spec, err error) {
	if dir, err = filepath.Abs(bundle); err != nil {
		return "", nil, err
	}
	path := filepath.Join(dir, configName)
	if st, err := os.Stat(path); err == nil && st.Size() > maxConfig {
		return "", nil, naru.Errorf(naru.InvalidArgument, "%s has %d bytes, more than %d", path, st.Size(), maxConfig)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return "", nil, naru.Errorf(naru.InvalidArgument, "read the bundle: %w", err)
	}
	if s, err = parseSpec(b); err != nil {
		return "", nil, fmt.Errorf("%s: %w", path, err)
	}
	return dir, s, absolute(dir, s)
}

// versionPattern is semantic versioning's, of the specification's first major version. Only what reads a bundle compiles
// it: naru's other commands link this package too.
var versionPattern = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^1\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$`)
})

func parseSpec(b []byte) (*specs.Spec, error) {
	s := &specs.Spec{}
	if err := json.Unmarshal(b, s); err != nil {
		return nil, naru.Errorf(naru.InvalidArgument, "not a configuration: %w", err)
	}
	switch {
	case !versionPattern().MatchString(s.Version):
		return nil, naru.Errorf(naru.InvalidArgument, "spec field ociVersion %q is not supported, 1.x is", s.Version)
	case s.Root == nil || s.Root.Path == "":
		return nil, naru.Errorf(naru.InvalidArgument, "spec field root is missing")
	case s.Linux == nil:
		return nil, naru.Errorf(naru.InvalidArgument, "spec field linux is missing")
	case s.Process == nil:
		return nil, naru.Errorf(naru.InvalidArgument, "spec field process is missing")
	}
	if _, nameless := s.Annotations[""]; nameless {
		return nil, naru.Errorf(naru.InvalidArgument, "spec field annotations has a key without a name")
	}
	return s, validateIDMaps(s)
}

// validateIDMaps wants ids for mounts that are to be mapped: the mount's own, or those of the container's user namespace.
func validateIDMaps(s *specs.Spec) error {
	if slices.ContainsFunc(s.Linux.Namespaces, func(ns specs.LinuxNamespace) bool { return ns.Type == specs.UserNamespace }) {
		return nil
	}
	for _, m := range s.Mounts {
		asked := slices.Contains(m.Options, "idmap") || slices.Contains(m.Options, "ridmap")
		if asked && len(m.UIDMappings) == 0 && len(m.GIDMappings) == 0 {
			return naru.Errorf(naru.InvalidArgument, "mount %s: idmap needs uidMappings and gidMappings, or a user namespace", m.Destination)
		}
	}
	return nil
}

// absolute resolves the paths that are relative to the bundle.
func absolute(dir string, s *specs.Spec) error {
	if !filepath.IsAbs(s.Root.Path) {
		s.Root.Path = filepath.Join(dir, s.Root.Path)
	}
	st, err := os.Stat(s.Root.Path)
	if err != nil {
		return naru.Errorf(naru.InvalidArgument, "spec field root.path: %w", err)
	}
	if !st.IsDir() {
		return naru.Errorf(naru.InvalidArgument, "spec field root.path: %s is no folder", s.Root.Path)
	}
	for i := range s.Mounts {
		m := &s.Mounts[i]
		if isBind(m) && !filepath.IsAbs(m.Source) {
			m.Source = filepath.Join(dir, m.Source)
		}
		if !filepath.IsAbs(m.Destination) { // runtimes before 1.0 took these, and images still bring them
			m.Destination = "/" + m.Destination
		}
	}
	allowPromised(s.Linux)
	return validateHooks(s.Hooks)
}

// allowPromised lets the container use the devices that the spec promises to it, whatever its own rules forget.
func allowPromised(l *specs.Linux) {
	if l.Resources != nil && len(l.Resources.Devices) > 0 {
		l.Resources.Devices = append(l.Resources.Devices, sandbox.AllowedDevices()...)
	}
}

func isBind(m *specs.Mount) bool {
	if m.Type == "bind" {
		return true
	}
	for _, o := range m.Options {
		if o == "bind" || o == "rbind" {
			return true
		}
	}
	return false
}

// cgroupPath is where the container's cgroup is in every hierarchy; "" where an ordinary user can have none.
func cgroupPath(id string, l *specs.Linux) (string, error) {
	switch p := l.CgroupsPath; {
	case p == "":
		return sandbox.OwnCgroup("naru-oci-"+id, os.Getpid()), nil
	case strings.Count(p, ":") == 2 && !strings.Contains(p, "/"):
		return "", naru.Errorf(naru.Unimplemented, "spec field linux.cgroupsPath %q: cgroups by systemd are not supported, use cgroupfs", p)
	default:
		return filepath.Join("/", p), nil
	}
}
