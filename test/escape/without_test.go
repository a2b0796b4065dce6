package escape

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"naru/internal/testkit"
)

// A defence is a part of a container's spec that can be left out alone, when the same sandbox is asked for containers
// by `naru oci` instead of by the daemon, which leaves nothing out.
func defences() map[string]func(*specs.Spec) {
	return map[string]func(*specs.Spec){
		"seccomp": func(s *specs.Spec) { s.Linux.Seccomp = nil },
		"capabilities": func(s *specs.Spec) {
			c := everyCapability()
			s.Process.Capabilities = &specs.LinuxCapabilities{Bounding: c, Effective: c, Permitted: c}
		},
		"user namespace": func(s *specs.Spec) {
			s.Linux.UIDMappings, s.Linux.GIDMappings = nil, nil
			dropNamespace(s, specs.UserNamespace)
		},
		"no_new_privs": func(s *specs.Spec) { s.Process.NoNewPrivileges = false },
		"masks":        func(s *specs.Spec) { s.Linux.MaskedPaths, s.Linux.ReadonlyPaths = nil, nil },
		"device rules": func(s *specs.Spec) {
			s.Linux.Resources.Devices = []specs.LinuxDeviceCgroup{{Allow: true, Access: "rwm"}}
		},
		"pid namespace": func(s *specs.Spec) { dropNamespace(s, specs.PIDNamespace) },
		"ipc namespace": func(s *specs.Spec) { dropNamespace(s, specs.IPCNamespace) },
		"read-only mounts": func(s *specs.Spec) {
			for i := range s.Mounts {
				s.Mounts[i].Options = slices.DeleteFunc(s.Mounts[i].Options, func(o string) bool { return o == "ro" })
			}
		},
	}
}

func dropNamespace(s *specs.Spec, kind specs.LinuxNamespaceType) {
	s.Linux.Namespaces = slices.DeleteFunc(s.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == kind })
}

// everyCapability is what this machine's root has: CAP_SYS_RESOURCE may be missing.
func everyCapability() []string {
	var caps []string
	for name := range strings.FieldsSeq("DAC_READ_SEARCH LINUX_IMMUTABLE NET_ADMIN IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO " +
		"SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_TIME SYS_TTY_CONFIG LEASE AUDIT_CONTROL MAC_OVERRIDE MAC_ADMIN SYSLOG " +
		"WAKE_ALARM BLOCK_SUSPEND PERFMON BPF CHECKPOINT_RESTORE CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID " +
		"SETFCAP SETPCAP NET_BIND_SERVICE SYS_CHROOT KILL AUDIT_WRITE") {
		caps = append(caps, "CAP_"+name)
	}
	return caps
}

// without runs the attack in a container of naru's sandbox that lacks some defences.
func (s *suite) without(t *testing.T, missing, args []string) outcome {
	t.Helper()
	return s.runSpec(t, s.specWithout(t, missing, args))
}

// runSpec runs an attacker as a spec has it.
func (s *suite) runSpec(t *testing.T, spec *specs.Spec) outcome {
	t.Helper()
	return s.runSpecBy(t, words(testkit.Binary(t), "oci"), spec)
}

// runSpecBy runs it with an OCI runtime; flags are those of its verb run.
func (s *suite) runSpecBy(t *testing.T, runtime []string, spec *specs.Spec, flags ...string) outcome {
	t.Helper()
	id := s.writeBundle(t, spec)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	args := slices.Concat(runtime, words("--root", filepath.Join(s.dir, "oci"), "run", "--bundle", s.bundle), flags, words(id))
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	out, _ := cmd.CombinedOutput() // how it ended is in its exit status
	return parse(string(out), cmd.ProcessState.ExitCode())
}

// writeBundle makes the bundle that of a spec, and returns a name for the container.
func (s *suite) writeBundle(t *testing.T, spec *specs.Spec) (id string) {
	t.Helper()
	text, err := json.Marshal(spec)
	must(t, err)
	must(t, os.WriteFile(filepath.Join(s.bundle, "config.json"), text, 0o644))
	s.runs++
	return "escape-" + strconv.Itoa(os.Getpid()) + "-" + strconv.Itoa(s.runs)
}

// specWithout is what `naru oci spec` says, in a user namespace as the daemon's containers are, less what is missing.
func (s *suite) specWithout(t *testing.T, missing, args []string) *specs.Spec {
	t.Helper()
	dir := t.TempDir()
	spec := exec.Command(testkit.Binary(t), "oci", "spec", "--bundle", dir)
	if out, err := spec.CombinedOutput(); err != nil {
		t.Fatalf("naru oci spec: %v: %s", err, out)
	}
	text, err := os.ReadFile(filepath.Join(dir, "config.json"))
	must(t, err)
	var v specs.Spec
	must(t, json.Unmarshal(text, &v))
	v.Root = &specs.Root{Path: "rootfs"}
	v.Process.Terminal, v.Process.Args = false, append([]string{"/attacker"}, args...)
	ids := []specs.LinuxIDMapping{{ContainerID: 0, HostID: 1 << 30, Size: 1 << 16}}
	v.Linux.UIDMappings, v.Linux.GIDMappings = ids, ids
	v.Linux.Namespaces = append(v.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
	delete(v.Linux.Sysctl, "net.ipv4.ping_group_range") // its groups would have to be mapped
	v.Linux.CgroupsPath = "/escape-" + fmt.Sprint(os.Getpid())
	v.Mounts = slices.DeleteFunc(v.Mounts, func(m specs.Mount) bool {
		return m.Type == "mqueue" && slices.Contains(missing, "ipc namespace") // who lacks it may not mount it
	})
	for _, name := range missing {
		leaveOut, known := defences()[name]
		if !known {
			t.Fatalf("there is no defence %q", name)
		}
		leaveOut(&v)
	}
	return &v
}
