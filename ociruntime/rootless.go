package ociruntime

import (
	"fmt"
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"

	"naru/engine/rootless"
	"naru/engine/sandbox"
	"naru/engine/sandbox/fork"
	"naru/naru"
)

// within is a configuration as it reads in the user namespace that this process is in; the host's root has it as it is.
func (r *Runtime) within(s *specs.Spec) (*specs.Spec, error) {
	if !r.Rootless {
		return s, nil
	}
	if err := checkRootless(s); err != nil {
		return nil, err
	}
	own, err := rootless.Current()
	if err != nil {
		return nil, err
	}
	linux := *s.Linux
	if linux.UIDMappings, err = mapsWithin(own.UIDs, s.Linux.UIDMappings); err != nil {
		return nil, fmt.Errorf("spec field linux.uidMappings: %w", err)
	}
	if linux.GIDMappings, err = mapsWithin(own.GIDs, s.Linux.GIDMappings); err != nil {
		return nil, fmt.Errorf("spec field linux.gidMappings: %w", err)
	}
	inner := *s
	inner.Linux = &linux
	return &inner, nil
}

// Delegate prepares an ordinary user's own cgroup for a container that is to be limited, unless the configuration says where
// it is to be. It is for the process that the user has started, before it starts another.
func (o CreateOptions) Delegate() error {
	_, s, err := readBundle(o.Bundle)
	if err != nil || s.Linux.CgroupsPath != "" || !sandbox.Limits(s.Linux.Resources) {
		return err
	}
	return sandbox.Delegate()
}

// checkRootless refuses what only the host's root can have.
func checkRootless(s *specs.Spec) error {
	if !slices.Contains(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace}) {
		return naru.Errorf(naru.PermissionDenied, "spec field linux.namespaces lacks a user namespace, without which an ordinary user can have no "+
			"container: see naru oci spec --rootless")
	}
	if len(s.Linux.NetDevices) > 0 {
		return naru.Errorf(naru.PermissionDenied, "spec field linux.netDevices: an ordinary user cannot have the machine's network devices moved")
	}
	for _, m := range s.Mounts {
		if len(m.UIDMappings) > 0 || slices.Contains(m.Options, "idmap") || slices.Contains(m.Options, "ridmap") {
			return naru.Errorf(naru.PermissionDenied, "mount %s: an ordinary user cannot have ids of a mount mapped", m.Destination)
		}
	}
	return nil
}

func mapsWithin(own []fork.IDMap, maps []specs.LinuxIDMapping) ([]specs.LinuxIDMapping, error) {
	var wanted []fork.IDMap
	for _, m := range maps {
		wanted = append(wanted, fork.IDMap{ContainerID: int(m.ContainerID), HostID: int(m.HostID), Size: int(m.Size)})
	}
	inner, err := rootless.Within(own, wanted)
	if err != nil {
		return nil, err
	}
	var out []specs.LinuxIDMapping
	for _, m := range inner {
		out = append(out, specs.LinuxIDMapping{ContainerID: uint32(m.ContainerID), HostID: uint32(m.HostID), Size: uint32(m.Size)})
	}
	return out, nil
}
