package sandbox

import (
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"naru/naru"
)

// Where naru itself is in a user namespace, a container has the ids that naru has: nothing is mapped on the way to the
// disk. Devices cannot be made there, nor can the host's sysfs be had without what is mounted in it.
func TestPlanInAUserNamespace(t *testing.T) {
	same := []specs.LinuxIDMapping{{ContainerID: 0, HostID: 0, Size: 1}, {ContainerID: 1, HostID: 1, Size: 65536}}
	s := spec(t, Defaults{Args: []string{"sh"}, UIDMap: same, GIDMap: same, HostNetwork: true})
	p, err := planContainer(&Config{Spec: s, Rootfs: Rootfs{Lower: []string{"/l"}, Upper: "/s/fs", Work: "/s/work"}}, facts{UserNS: true})
	if err != nil {
		t.Fatal(err)
	}
	got := show(p)
	for _, bad := range []string{"idmap", "mknod"} {
		if strings.Contains(got, bad) {
			t.Errorf("the plan has %q:\n%s", bad, got)
		}
	}
	for _, good := range []string{" /dev/null\n", " /sys recursive"} {
		if !strings.Contains(got, good) {
			t.Errorf("the plan lacks %q:\n%s", good, got)
		}
	}
}

func TestSingleIDHasNoTTYGroup(t *testing.T) {
	one := []specs.LinuxIDMapping{{HostID: 1000, Size: 1}}
	for _, m := range spec(t, Defaults{Args: []string{"sh"}, UIDMap: one, GIDMap: one}).Mounts {
		for _, o := range m.Options {
			if o == "gid=5" {
				t.Errorf("mount %s has group 5, which nobody is", m.Destination)
			}
		}
	}
	s := spec(t, Defaults{Args: []string{"sh"}, UIDMap: one, GIDMap: one, User: specs.User{UID: 7}})
	if err := validate(s); naru.CodeOf(err) != naru.InvalidArgument || !strings.Contains(err.Error(), "process.user") {
		t.Errorf("a user without an id: %v", err)
	}
}

// Without a cgroup, limits are refused by name rather than ignored.
func TestLimitsWithoutACgroup(t *testing.T) {
	limit := int64(1 << 20)
	res := &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: &limit}}
	if _, err := newCgroup("", &specs.Linux{Resources: res}); naru.CodeOf(err) != naru.FailedPrecondition {
		t.Errorf("a memory limit without a cgroup: %v", err)
	}
	if err := Update("", res); naru.CodeOf(err) != naru.FailedPrecondition {
		t.Errorf("update: %v", err)
	}
	if err := Freeze("", true); naru.CodeOf(err) != naru.FailedPrecondition {
		t.Errorf("freeze: %v", err)
	}
	s := spec(t, Defaults{Args: []string{"sh"}})
	if _, err := newCgroup("", s.Linux); err != nil {
		t.Errorf("defaults without a cgroup: %v", err)
	}
}
