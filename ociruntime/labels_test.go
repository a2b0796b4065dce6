package ociruntime_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// confined lets a program do anything but read one file, whatever its rights.
const confined = `profile naru-test-confined flags=(attach_disconnected,mediate_deleted) {
	file, capability, network, mount, signal, ptrace, unix,
	deny /etc/secret r,
}
`

// config.md, POSIX process, apparmorProfile: "specifies the name of the AppArmor profile for the process". The profile
// confines the container's program and what is executed in it later, root or not.
func TestLabelsOfAppArmorConfine(t *testing.T) {
	if enabled, _ := os.ReadFile("/sys/module/apparmor/parameters/enabled"); !strings.HasPrefix(string(enabled), "Y") {
		t.Skip("needs a kernel that runs AppArmor: make test-vm boots one")
	}
	l := newLab(t)
	l.appArmor("-a")
	t.Cleanup(func() { l.appArmor("-R") })
	const script = "cat /proc/self/attr/apparmor/current; id -u; cat /etc/secret 2>&1; true"
	l.sh(script)
	if got := l.run(); got != "unconfined\n0\nhidden" {
		t.Errorf("without a profile: %q", got)
	}
	const want = "naru-test-confined (enforce)\n0\ncat: can't open '/etc/secret': Permission denied"
	for _, noNewPrivileges := range []bool{true, false} {
		l.spec.Process.NoNewPrivileges = noNewPrivileges
		l.spec.Process.ApparmorProfile = "naru-test-confined"
		if got := l.run(); got != want {
			t.Errorf("with a profile: %q", got)
		}
	}
	l.sh("exec sleep 1000")
	l.create("confined")
	l.must(l.runtime.Start(l.ctx, id("confined")))
	l.must(l.out.Truncate(0))
	if status, err := l.exec("confined", script); err != nil || status != 0 || strings.Trim(l.said(), "\x00") != want {
		t.Errorf("exec: %d, %v, %q", status, err, l.said())
	}
	l.spec.Process.ApparmorProfile = "naru-test-is-not-loaded"
	_, err := l.runtime.Run(l.ctx, l.options("run"), false, false)
	l.wantError(err, `spec field process.apparmorProfile "naru-test-is-not-loaded": no such profile is loaded`)
}

// appArmor has Debian's parser load the profile, or remove it.
func (l *lab) appArmor(act string) {
	l.Helper()
	parser, err := exec.LookPath("apparmor_parser")
	if err != nil {
		l.Skip("needs apparmor_parser:", err)
	}
	cmd := exec.CommandContext(l.ctx, parser, "--skip-cache", act)
	cmd.Stdin = strings.NewReader(confined)
	if out, err := cmd.CombinedOutput(); err != nil {
		l.Fatalf("apparmor_parser %s: %v: %s", act, err, out)
	}
}
