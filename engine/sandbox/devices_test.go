package sandbox

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/opencontainers/cgroups"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// TestDeviceProgram tries the eBPF program of cgroup v2 on the kernel, where it works beside v1 too.
func TestDeviceProgram(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: it makes a cgroup and loads an eBPF program")
	}
	mount := cgroupMount
	if !cgroups.IsCgroup2UnifiedMode() {
		mount = filepath.Join(mount, "unified")
	}
	dir := filepath.Join(mount, fmt.Sprintf("naru-test-devices-%d", os.Getpid()))
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Skip("no cgroup v2 hierarchy:", err)
	}
	t.Cleanup(func() {
		if err := os.Remove(dir); err != nil {
			t.Error(err)
		}
	})
	one, five := int64(1), int64(5)
	rules := append(defaultDeviceRules(), specs.LinuxDeviceCgroup{Type: "c", Major: &one, Minor: &five, Access: "w"})
	if err := attachDeviceProgram(dir, deviceProgram(rules)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		script string
		ok     bool
	}{
		{"head -c1 /dev/zero", true}, {"echo >/dev/null", true}, {"head -c1 /dev/urandom", true},
		{"echo >/dev/zero", false}, // denied by the last rule
		{"head -c1 /dev/kmsg", false},
	} {
		if got, out := tryIn(t, dir, c.script); got != c.ok || !c.ok && !strings.Contains(out, "not permitted") {
			t.Errorf("%s: worked %v: %s", c.script, got, out)
		}
	}
}

func tryIn(t *testing.T, dir, script string) (bool, string) {
	t.Helper()
	group, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer group.Close()
	cmd := exec.Command("/bin/sh", "-c", script)
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(group.Fd())}
	out, err := cmd.CombinedOutput()
	return err == nil, string(out)
}

func TestDeviceRulesOfV1(t *testing.T) {
	n := int64(136)
	for want, r := range map[string]specs.LinuxDeviceCgroup{
		"a *:* rwm":   {Type: "a", Access: "rwm"},
		"c *:* m":     {Type: "c", Access: "m"},
		"c 136:* rwm": {Type: "c", Major: &n},
	} {
		if got := deviceRule(r); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
