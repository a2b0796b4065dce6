package ociruntime_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
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
	_, err := l.runtime.Run(l.ctx, l.options("run"), false)
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

// config.md, POSIX process, selinuxLabel: "specifies the SELinux label for the process"; config-linux.md, Mount Label: "sets
// the Selinux context for the mounts in the container".
func TestLabelsOfSELinuxConfine(t *testing.T) {
	policy, err := os.ReadFile("testdata/selinux.policy")
	if err != nil {
		t.Skip("needs a kernel that waits for a policy: make test-vm boots one")
	}
	l := newLab(t)
	l.must(os.WriteFile("/sys/fs/selinux/load", policy, 0))
	l.must(os.WriteFile("/sys/fs/selinux/enforce", []byte("1"), 0))
	secret := filepath.Join(l.bundle, "rootfs/etc/secret")
	l.must(unix.Setxattr(secret, "security.selinux", []byte("system_u:object_r:secret_t"), 0))
	const script = "tr -d '\\0' </proc/self/attr/current; echo; cat /etc/secret 2>&1; grep -c context=system_u:object_r:box_file_t /proc/self/mounts; true"
	l.sh(script)
	if got := l.run(); got != "system_u:system_r:kernel_t\nhidden0" {
		t.Errorf("without labels: %q", got)
	}
	const want = "system_u:system_r:box_t\ncat: can't open '/etc/secret': Permission denied\n"
	l.spec.Process.SelinuxLabel, l.spec.Linux.MountLabel = "system_u:system_r:box_t", "system_u:object_r:box_file_t"
	for _, noNewPrivileges := range []bool{true, false} {
		l.spec.Process.NoNewPrivileges = noNewPrivileges
		if got := l.run(); got != want+"3" { // /dev, /dev/shm and /dev/pts
			t.Errorf("with labels: %q", got)
		}
	}
	l.sh("echo >/dev/shm/made; exec sleep 1000")
	l.create("labelled")
	l.must(l.runtime.Start(l.ctx, id("labelled")))
	s, err := l.runtime.State(id("labelled"))
	l.must(err)
	made := fmt.Sprintf("/proc/%d/root/dev/shm/made", s.PID)
	l.waitFor("its file is there", func() bool { _, err := os.Stat(made); return err == nil })
	label := make([]byte, 100)
	n, err := unix.Getxattr(made, "security.selinux", label)
	if l.must(err); strings.Trim(string(label[:n]), "\x00") != "system_u:object_r:box_file_t" {
		t.Errorf("a file that it made is labelled %q", label[:n])
	}
	l.must(l.out.Truncate(0))
	if status, err := l.exec("labelled", script); err != nil || status != 0 || strings.Trim(l.said(), "\x00") != want+"3" {
		t.Errorf("exec: %d, %v, %q", status, err, l.said())
	}
	l.spec.Process.SelinuxLabel = "system_u:system_r:nobody_t"
	_, err = l.runtime.Run(l.ctx, l.options("run"), false)
	l.wantError(err, `spec field process.selinuxLabel "system_u:system_r:nobody_t": the policy has no such label`)
}
