package escape

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// part is one defence, as small as it can be left out: the attacker misses it, and nothing else, by the word.
type part struct {
	name, word string
	leaveOut   func(*specs.Spec)
}

// eachDefence leaves every part of the sandbox out, one at a time, and has the attacker look around.
func eachDefence(t *testing.T, s *suite) {
	links := namespaceLinks(t)
	if o := s.inNaru(nil, append(words("inspect"), links...)...); o.verdict != "held" {
		t.Errorf("a container of naru's: %s: %s", o.verdict, o.seen)
	}
	whole := s.specWithout(t, nil, append(words("inspect"), links...))
	for _, p := range parts(whole) {
		t.Run(strings.ReplaceAll(p.name, "/", "_"), func(t *testing.T) { s.leaveOut(t, p, links) })
	}
}

func (s *suite) leaveOut(t *testing.T, p part, links []string) {
	t.Helper()
	spec := s.specWithout(t, nil, append(words("inspect"), links...))
	p.leaveOut(spec)
	o := s.runSpec(t, spec)
	s.table.parts = append(s.table.parts, [2]string{p.name, o.verdict})
	if _, path, _ := strings.Cut(p.word, "/"); path != "" && o.verdict == "held" {
		if _, err := os.Stat("/" + path); err != nil {
			s.table.parts[len(s.table.parts)-1][1] = "untried: this machine has no such file"
			return
		}
	}
	if o.verdict != "escaped" || !strings.Contains(o.seen+",", "without "+p.word) || strings.Contains(o.seen, ", ") {
		t.Errorf("without %s alone: %s: %s", p.name, o.verdict, o.seen)
	}
}

// parts are all that a spec defends with.
func parts(whole *specs.Spec) (all []part) {
	for name, leaveOut := range map[string]func(*specs.Spec){
		"seccomp": defences()["seccomp"], "no_new_privs": defences()["no_new_privs"], "user namespace": defences()["user namespace"],
		"ipc namespace": func(s *specs.Spec) {
			dropNamespace(s, specs.IPCNamespace)
			s.Mounts = slices.DeleteFunc(s.Mounts, func(m specs.Mount) bool { return m.Type == "mqueue" }) // who lacks it may not mount it
		},
		"uts namespace":    func(s *specs.Spec) { dropNamespace(s, specs.UTSNamespace); s.Hostname = "" },
		"net namespace":    func(s *specs.Spec) { dropNamespace(s, specs.NetworkNamespace); s.Linux.Sysctl = nil },
		"cgroup namespace": func(s *specs.Spec) { dropNamespace(s, specs.CgroupNamespace) },
	} {
		all = append(all, part{name, name, leaveOut})
	}
	for name, why := range map[string]string{"device rules": "forbids devices", "pid namespace": "forbids the host's /proc"} {
		all = append(all, part{name + ", where no user namespace " + why, name, func(s *specs.Spec) {
			defences()[name](s)
			defences()["user namespace"](s)
			s.Process.Args = slices.DeleteFunc(s.Process.Args, func(link string) bool { return strings.HasPrefix(link, "user:") })
		}})
	}
	all = append(all, pathParts(whole)...)
	all = append(all, capabilityParts(whole)...)
	slices.SortStableFunc(all, func(a, b part) int { return strings.Compare(a.name, b.name) })
	return all
}

func pathParts(whole *specs.Spec) (all []part) {
	without := func(paths []string, path string) []string {
		return slices.DeleteFunc(slices.Clone(paths), func(p string) bool { return p == path })
	}
	for _, path := range whole.Linux.MaskedPaths {
		all = append(all, part{"mask of " + path, "mask of " + path, func(s *specs.Spec) { s.Linux.MaskedPaths = without(s.Linux.MaskedPaths, path) }})
	}
	for _, path := range whole.Linux.ReadonlyPaths {
		all = append(all, part{"read-only " + path, "read-only " + path, func(s *specs.Spec) { s.Linux.ReadonlyPaths = without(s.Linux.ReadonlyPaths, path) }})
	}
	for i, m := range whole.Mounts {
		if slices.Contains(m.Options, "ro") {
			all = append(all, part{"read-only " + m.Destination, "read-only " + m.Destination, func(s *specs.Spec) {
				s.Mounts[i].Options = slices.DeleteFunc(slices.Clone(m.Options), func(o string) bool { return o == "ro" })
			}})
		}
	}
	return all
}

// capabilities are all that Linux has, in the order of their numbers.
const capabilities = "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE " +
	"NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT " +
	"SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG " +
	"WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"

func capabilityParts(whole *specs.Spec) (all []part) {
	for number, name := range strings.Fields(capabilities) {
		name = "CAP_" + name
		if slices.Contains(whole.Process.Capabilities.Bounding, name) {
			continue
		}
		all = append(all, part{"drop of " + name, "drop of capability " + strconv.Itoa(number), func(s *specs.Spec) {
			s.Process.Capabilities.Bounding = append(slices.Clone(s.Process.Capabilities.Bounding), name)
		}})
	}
	return all
}

// namespaceLinks are the host's, but the mount namespace's: a container without one is refused.
func namespaceLinks(t *testing.T) (links []string) {
	t.Helper()
	for name := range strings.FieldsSeq("user pid ipc uts net cgroup mnt") {
		link, err := os.Readlink(fmt.Sprintf("/proc/self/ns/%s", name))
		must(t, err)
		links = append(links, link)
	}
	return links
}
