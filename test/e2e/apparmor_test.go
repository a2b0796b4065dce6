package e2e

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"naru/internal/testkit"
)

// noPasswd lets a program do anything but read one file.
const noPasswd = `profile naru-e2e flags=(attach_disconnected,mediate_deleted) {
	file, capability, network, mount, signal, ptrace, unix,
	deny /etc/passwd r,
}
`

// TestAppArmor confines a container of the daemon's by a profile. One that is not loaded is an error that says so.
func TestAppArmor(t *testing.T) {
	if enabled, _ := os.ReadFile("/sys/module/apparmor/parameters/enabled"); !strings.HasPrefix(string(enabled), "Y") {
		t.Skip("needs a kernel that runs AppArmor: make test-vm boots one")
	}
	parser := testkit.RequireCommand(t, "apparmor_parser")
	load := func(act string) {
		cmd := exec.Command(parser, "--skip-cache", act)
		cmd.Stdin = strings.NewReader(noPasswd)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("apparmor_parser %s: %v: %s", act, err, out)
		}
	}
	d := start(t)
	load("-a")
	t.Cleanup(func() { load("-R") })
	const look = "cat /proc/self/attr/apparmor/current; cat /etc/passwd 2>&1 | tail -n 1"
	if got := box(t, d.OK, look, "--security-opt", "apparmor=naru-e2e"); got != "naru-e2e (enforce)\ncat: can't open '/etc/passwd': Permission denied" {
		t.Errorf("with a profile: %q", got)
	}
	if got := box(t, d.OK, look); !strings.HasPrefix(got, "unconfined\n") || strings.Contains(got, "denied") {
		t.Errorf("without one: %q", got)
	}
	r := d.Naru("container", "run", "--rm", "--security-opt", "apparmor=naru-none", busybox, "true")
	if r.Code == 0 || !strings.Contains(r.Stdout+r.Stderr, `"naru-none": no such profile is loaded`) {
		t.Errorf("with one that is not loaded: %v", r)
	}
}
