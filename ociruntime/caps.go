package ociruntime

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"naru/engine/sandbox"
)

// grant leaves out capabilities that nobody knows, or that this process could not give away; the spec wants a warning
// for each, and no failure. In a user namespace of its own a process has them all.
func (r *Runtime) grant(p *specs.Process, l *specs.Linux) error {
	if p.Capabilities == nil {
		return nil
	}
	have, err := boundingSet()
	if err != nil {
		return err
	}
	if slices.ContainsFunc(l.Namespaces, func(ns specs.LinuxNamespace) bool { return ns.Type == specs.UserNamespace }) {
		have = sandbox.Capabilities()
	}
	granted := *p.Capabilities
	missing := map[string]bool{}
	only := func(set, among []string) []string {
		return slices.DeleteFunc(slices.Clone(set), func(name string) bool {
			if slices.ContainsFunc(among, func(other string) bool { return capName(other) == capName(name) }) {
				return false
			}
			if !missing[name] {
				r.warn(fmt.Errorf("capability %s cannot be granted here", name))
			}
			missing[name] = true
			return true
		})
	}
	for _, set := range []*[]string{&granted.Bounding, &granted.Effective, &granted.Permitted, &granted.Inheritable} {
		*set = only(*set, have)
	}
	// The kernel wants what is ambient to be permitted and inheritable too; runc's own example config forgets the latter.
	granted.Ambient = only(only(granted.Ambient, granted.Permitted), granted.Inheritable)
	p.Capabilities = &granted
	return nil
}

// capName is a capability's name without the prefix, which some leave out.
func capName(s string) string { return strings.TrimPrefix(s, "CAP_") }

// boundingSet are the capabilities that root gets when this process executes a program.
func boundingSet() ([]string, error) {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return nil, err
	}
	_, rest, _ := strings.Cut(string(b), "\nCapBnd:\t")
	digits, _, _ := strings.Cut(rest, "\n")
	bits, err := strconv.ParseUint(digits, 16, 64)
	if err != nil {
		return nil, fmt.Errorf("read the bounding set: %w", err)
	}
	var names []string
	for i, name := range sandbox.Capabilities() {
		if bits&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return names, nil
}
