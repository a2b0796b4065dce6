package ociruntime

import (
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"naru/engine/sandbox"
	"naru/naru"
)

// passOver leaves out what a configuration may say without a meaning, as runc does, with a warning for each.
func (r *Runtime) passOver(s *specs.Spec) {
	known := sandbox.MountOptions()
	for i := range s.Mounts {
		m := &s.Mounts[i]
		if !isBind(m) {
			continue
		}
		m.Options = slices.DeleteFunc(m.Options, func(o string) bool {
			if slices.Contains(known, o) {
				return false
			}
			r.warn(naru.Errorf(naru.InvalidArgument, "mount %s: a bind has no option %q, which is passed over", m.Destination, o))
			return true
		})
	}
	if s.Linux.Resources == nil || s.Linux.Resources.Memory == nil {
		return
	}
	memory := s.Linux.Resources.Memory
	var none []string
	//lint:ignore SA1019 those who still ask for it
	if memory.Kernel != nil {
		none = append(none, "kernel")
	}
	if memory.KernelTCP != nil {
		none = append(none, "kernelTCP")
	}
	if len(none) > 0 {
		r.warn(naru.Errorf(naru.Unimplemented, "spec field linux.resources.memory: no limit of %s, which is passed over", strings.Join(none, " and ")))
	}
	//lint:ignore SA1019 see above
	memory.Kernel, memory.KernelTCP = nil, nil
}
