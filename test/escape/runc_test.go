package escape

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"

	"naru/internal/testkit"
)

// runc is the peer: Debian's, as test/deps.sh unpacks it.
type runc struct {
	program, bundle, root string
	runs                  int
}

// newRunc is nil where there is no runc, which leaves its column empty.
func newRunc(t *testing.T, s *suite) *runc {
	t.Helper()
	program := findRunc()
	if program == "" {
		t.Log("there is no runc to compare with: run make deps")
		return nil
	}
	return &runc{program: program, bundle: s.bundle, root: filepath.Join(s.dir, "runc")}
}

func findRunc() string {
	for _, path := range []string{filepath.Join(testkit.DebianDir(), "docker/usr/sbin/runc"), "/usr/sbin/runc", "/usr/bin/runc"} {
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	return ""
}

// run runs the attack in a container as dockerd would have it made.
func (r *runc) run(t *testing.T, args ...string) outcome {
	t.Helper()
	text, err := json.Marshal(dockerSpec(t, args))
	must(t, err)
	must(t, os.WriteFile(filepath.Join(r.bundle, "config.json"), text, 0o644))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	r.runs++
	id := "escape-" + strconv.Itoa(os.Getpid()) + "-" + strconv.Itoa(r.runs)
	cmd := exec.CommandContext(ctx, r.program, "--root", r.root, "run", "--bundle", r.bundle, id)
	out, _ := cmd.CombinedOutput()                                               // how it ended is in its exit status
	_ = exec.Command(r.program, "--root", r.root, "delete", "--force", id).Run() // it is gone unless something broke
	return parse(string(out), cmd.ProcessState.ExitCode())
}

// dockerSpec is what Debian's dockerd 20.10 gives runc for a container without options, with today's seccomp policy.
func dockerSpec(t *testing.T, args []string) *specs.Spec {
	t.Helper()
	caps := []string{"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SETGID",
		"CAP_SETUID", "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL", "CAP_AUDIT_WRITE"}
	quiet := []string{"nosuid", "noexec", "nodev"}
	number := func(n int64) *int64 { return &n }
	s := &specs.Spec{
		Version: "1.0.2", Root: &specs.Root{Path: "rootfs"}, Hostname: "victim",
		Process: &specs.Process{Args: append([]string{"/attacker"}, args...), Env: []string{"PATH=/bin"}, Cwd: "/",
			Capabilities: &specs.LinuxCapabilities{Bounding: caps, Effective: caps, Permitted: caps}},
		Mounts: []specs.Mount{
			{Destination: "/proc", Type: "proc", Source: "proc", Options: quiet},
			{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "strictatime", "mode=755", "size=65536k"}},
			{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"}},
			{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: append([]string{"ro"}, quiet...)},
			{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: append([]string{"ro"}, quiet...)},
			{Destination: "/dev/shm", Type: "tmpfs", Source: "shm", Options: append([]string{"mode=1777", "size=65536k"}, quiet...)},
		},
		Linux: &specs.Linux{
			CgroupsPath: "/escape-runc",
			Namespaces: []specs.LinuxNamespace{{Type: specs.MountNamespace}, {Type: specs.PIDNamespace}, {Type: specs.IPCNamespace},
				{Type: specs.UTSNamespace}, {Type: specs.NetworkNamespace}},
			Resources: &specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{
				{Type: "a", Access: "rwm"}, {Allow: true, Type: "c", Access: "m"}, {Allow: true, Type: "b", Access: "m"},
				{Allow: true, Type: "c", Major: number(1), Minor: number(3), Access: "rwm"}}},
			MaskedPaths: []string{"/proc/asound", "/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
				"/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware"},
			ReadonlyPaths: []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"},
		},
	}
	policy, err := seccomp.GetDefaultProfile(s)
	must(t, err)
	s.Linux.Seccomp = policy
	return s
}
