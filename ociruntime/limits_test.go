package ociruntime_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// config.md, Mounts: the option strings that runtimes MUST implement, of new filesystems and of binds.
func TestMountOptions(t *testing.T) {
	l := newLab(t)
	source := t.TempDir()
	whole := l.spec.Mounts
	for _, c := range []struct{ options, shown string }{
		{"async atime defaults dev diratime exec loud noiversion nolazytime norelatime nostrictatime rw suid", "rw,relatime"},
		{"dirsync iversion lazytime noatime nodev nodiratime noexec nosuid ro silent sync", "ro,nosuid,nodev,noexec,noatime,nodiratime"},
		{"relatime", "rw,relatime"}, {"strictatime", "rw"}, {"private rprivate slave rslave shared rshared unbindable runbindable", "rw,relatime"},
		{"bind ro", "ro"}, {"rbind nosuid", "nosuid"},
	} {
		m := specs.Mount{Destination: "/tmp/x", Type: "tmpfs", Source: "new", Options: strings.Fields(c.options)}
		if strings.Contains(c.options, "bind ") && !strings.Contains(c.options, "unbindable") {
			m.Type, m.Source = "", source
		}
		l.spec.Mounts = append(whole[:len(whole):len(whole)], m)
		l.sh("grep -E '^([^ ]+ ){4}/tmp/x ' /proc/self/mountinfo | cut -d' ' -f6")
		if got := l.run(); !strings.Contains(got, c.shown) {
			t.Errorf("%s: %q, want %q", c.options, got, c.shown)
		}
	}
	l.spec.Mounts = append(whole[:len(whole):len(whole)], specs.Mount{Destination: "/tmp/x", Type: "tmpfs", Source: "new", Options: []string{"size=100k"}},
		specs.Mount{Destination: "/tmp/x", Type: "tmpfs", Source: "new", Options: []string{"remount", "size=200k"}},
		specs.Mount{Destination: "/tmp/x", Options: []string{"bind", "remount", "ro"}})
	l.sh("grep /tmp/x /proc/self/mountinfo | cut -d' ' -f6; grep -o size=200k /proc/self/mounts")
	if got := l.run(); !strings.HasPrefix(got, "ro") || !strings.HasSuffix(got, "\nsize=200k") {
		t.Errorf("remounted: %q", got)
	}
}

// config.md, Mounts, idmap: "If there are no uidMappings and gidMappings specified and the container isn't using user
// namespaces, an error MUST be returned".
func TestIDMapsNeedIDs(t *testing.T) {
	l := newLab(t)
	for _, option := range []string{"idmap", "ridmap"} {
		l.spec.Mounts = []specs.Mount{{Destination: "/tmp", Type: "bind", Source: "/tmp", Options: []string{option}}}
		l.wantError(l.runtime.Create(l.ctx, l.options("x")), "mount /tmp: idmap needs uidMappings and gidMappings")
	}
}

// config.md, Hooks: those of prestart, createRuntime, poststart and poststop run in the runtime's namespaces, with its
// paths; createContainer's in the container's with the runtime's paths; startContainer's all in the container.
func TestWhereHooksRun(t *testing.T) {
	l := newLab(t)
	log := filepath.Join(l.bundle, "rootfs/log") // host and container both reach it
	l.must(os.WriteFile(log, nil, 0o666))
	hook := func(stage, log string) []specs.Hook {
		return []specs.Hook{{Path: "/bin/sh", Args: []string{"sh", "-c", "echo " + stage + " $(readlink /proc/self/ns/uts) $(test -e " + l.bundle + " && echo host) >> " + log},
			Env: []string{"PATH=/bin:/usr/bin"}}}
	}
	l.spec.Hooks = &specs.Hooks{CreateRuntime: hook("createRuntime", log), CreateContainer: hook("createContainer", log),
		StartContainer: hook("startContainer", "/log"), Poststart: hook("poststart", log), Poststop: hook("poststop", log)}
	//lint:ignore SA1019 dockerd uses it
	l.spec.Hooks.Prestart = hook("prestart", log)
	l.sh("exec sleep 1000")
	l.create("where")
	s, err := l.runtime.State(id("where"))
	l.must(err)
	inside, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/uts", s.PID))
	l.must(err)
	outside, err := os.Readlink("/proc/self/ns/uts")
	l.must(err)
	l.must(l.runtime.Start(l.ctx, id("where")))
	l.stop("where")
	l.must(l.runtime.Delete(l.ctx, id("where"), false))
	got, err := os.ReadFile(log)
	l.must(err)
	want := fmt.Sprintf("prestart %[1]s host\ncreateRuntime %[1]s host\ncreateContainer %[2]s host\nstartContainer %[2]s\npoststart %[1]s host\npoststop %[1]s host\n", outside, inside)
	if string(got) != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

// config-linux.md, Namespaces: "If path is not specified, the runtime MUST create a new container namespace"; "If a
// namespace type is not specified …, the container MUST inherit the runtime namespace of that type".
func TestNamespacesAreNewOrInherited(t *testing.T) {
	files := map[specs.LinuxNamespaceType]string{specs.PIDNamespace: "pid", specs.NetworkNamespace: "net", specs.IPCNamespace: "ipc",
		specs.UTSNamespace: "uts", specs.CgroupNamespace: "cgroup", specs.MountNamespace: "mnt"}
	for name, fresh := range map[string]bool{"new": true, "old": false} {
		l := newLab(t)
		l.spec.Linux.Namespaces = nil
		l.spec.Root.Readonly = true
		l.spec.Mounts, l.spec.Hostname, l.spec.Linux.Sysctl = l.spec.Mounts[:2], "", nil // what needs namespaces of its own
		for kind := range files {
			if fresh {
				l.spec.Linux.Namespaces = append(l.spec.Linux.Namespaces, specs.LinuxNamespace{Type: kind})
			}
		}
		l.sh("exec sleep 1000")
		l.create(name)
		s, err := l.runtime.State(id(name))
		l.must(err)
		for kind, file := range files {
			ours, err := os.Readlink("/proc/self/ns/" + file)
			l.must(err)
			theirs, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", s.PID, file))
			if l.must(err); (ours != theirs) != fresh {
				t.Errorf("%s: ours is %s, theirs %s, asked for a new one: %v", kind, ours, theirs, fresh)
			}
		}
		l.stop(name)
		l.must(l.runtime.Delete(l.ctx, id(name), false))
		if mounts, err := os.ReadFile("/proc/self/mountinfo"); err != nil || strings.Contains(string(mounts), l.bundle) {
			t.Errorf("mounts are left: %v\n%s", err, mounts)
		}
	}
}

// config-linux.md, Devices: "If a file already exists at path that does not match the requested device, the runtime MUST
// generate an error"; one that matches is taken.
func TestADeviceThatIsThereAlready(t *testing.T) {
	l := newLab(t)
	l.spec.Linux.Devices = []specs.LinuxDevice{{Path: "/etc/null", Type: "c", Major: 1, Minor: 3}}
	null := filepath.Join(l.bundle, "rootfs/etc/null")
	l.must(unix.Mknod(null, unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))))
	l.sh("stat -c '%a %t:%T' /etc/null")
	if got := l.run(); got != "666 1:3" {
		t.Errorf("got %q", got)
	}
	for _, other := range []func() error{
		func() error { return unix.Mknod(null, unix.S_IFCHR|0o600, int(unix.Mkdev(1, 5))) }, func() error { return os.WriteFile(null, nil, 0o600) },
	} {
		l.must(os.Remove(null))
		l.must(other())
		l.wantError(l.runtime.Create(l.ctx, l.options("x")), "mknod /etc/null: file exists")
	}
}

// config-linux.md, Cgroups Path: "In the case of an absolute path, the runtime MUST take the path to be relative to the
// cgroups mount point", and "MUST consistently attach to the same place"; one that is taken already is an error, and so
// is a cgroup that is not fit.
func TestCgroupsPath(t *testing.T) {
	l := newLab(t)
	for _, path := range []string{"/" + id("abs") + "/a", id("rel") + "/b"} {
		l.spec.Linux.CgroupsPath = path
		l.sh("exec sleep 1000")
		for range 2 {
			l.create("at")
			s, err := l.runtime.State(id("at"))
			l.must(err)
			groups, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", s.PID))
			if l.must(err); !strings.Contains(string(groups), ":/"+strings.TrimPrefix(path, "/")+"\n") {
				t.Errorf("%s: it is in %s", path, groups)
			}
			l.wantError(l.runtime.Create(l.ctx, l.options("second")), "exists already")
			l.stop("at")
			l.must(l.runtime.Delete(l.ctx, id("at"), false))
		}
		above, _ := filepath.Glob("/sys/fs/cgroup/*/" + filepath.Dir(strings.TrimPrefix(path, "/")))
		for _, dir := range append(above, "/sys/fs/cgroup/"+filepath.Dir(strings.TrimPrefix(path, "/"))) {
			_ = os.Remove(dir) // of v1, or of v2
		}
	}
}

// config-linux.md, Allowed Device list: "The runtime MUST apply entries in the listed order".
func TestDeviceRulesApplyInOrder(t *testing.T) {
	l := newLab(t)
	n := func(v int64) *int64 { return &v }
	rule := specs.LinuxDeviceCgroup{Type: "c", Major: n(1), Minor: n(11), Access: "r"} // kmsg, which no container is promised
	allow, deny := rule, rule
	allow.Allow = true
	l.spec.Linux.Devices = []specs.LinuxDevice{{Path: "/dev/log", Type: "c", Major: 1, Minor: 11}}
	l.sh("head -c 0 /dev/log && echo opened || true")
	c := l.spec.Process.Capabilities // to open it at all
	c.Bounding, c.Permitted, c.Effective = append(c.Bounding, "CAP_SYSLOG"), append(c.Permitted, "CAP_SYSLOG"), append(c.Effective, "CAP_SYSLOG")
	for _, c := range []struct {
		rules []specs.LinuxDeviceCgroup
		opens bool
	}{{[]specs.LinuxDeviceCgroup{{Access: "rwm"}, deny, allow}, true}, {[]specs.LinuxDeviceCgroup{{Access: "rwm"}, allow, deny}, false}} {
		l.spec.Linux.Resources.Devices = c.rules
		if got := l.run(); strings.HasSuffix(got, "opened") != c.opens {
			t.Errorf("%+v: %q", c.rules, got)
		}
	}
}

// config-linux.md, Memory, checkBeforeUpdate: "MUST reject the new limit" that is lower than what is used. config-linux.md,
// Unified: keys go to their files; "MUST generate an error when the configuration refers to a cgroup controller that is
// not present".
func TestLimitsThatCannotBe(t *testing.T) {
	l := newLab(t)
	l.sh("exec sleep 1000")
	l.create("full")
	low, yes := int64(4096), true
	l.wantError(l.runtime.Update(id("full"), &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: &low, CheckBeforeUpdate: &yes}}), "limit cgroup")
	l.spec.Linux.Resources.Unified = map[string]string{"nothing.max": "1"}
	l.wantError(l.runtime.Create(l.ctx, l.options("x")), "cgroup")
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err != nil {
		return
	}
	l.spec.Linux.Resources.Unified = map[string]string{"pids.max": "77"}
	l.create("unified")
	if b, err := os.ReadFile("/sys/fs/cgroup/naru-oci-" + id("unified") + "/pids.max"); string(b) != "77\n" {
		t.Errorf("pids.max is %q, %v", b, err)
	}
}

// What means nothing is passed over with a warning, as runc does: options of filesystems on binds, and kernel memory, which
// Linux no longer limits.
func TestWhatMeansNothingIsPassedOver(t *testing.T) {
	l := newLab(t)
	limit := int64(1 << 20)
	//lint:ignore SA1019 those who still ask for it
	l.spec.Linux.Resources.Memory = &specs.LinuxMemory{Kernel: &limit, KernelTCP: &limit}
	l.spec.Mounts = append(l.spec.Mounts, specs.Mount{Destination: "/tmp", Type: "bind", Source: "/etc", Options: []string{"bind", "size=1k", "ro"}})
	l.sh("touch /tmp/x 2>&1 || true")
	if got := l.run(); got != "touch: /tmp/x: Read-only file system" {
		t.Errorf("said %q", got)
	}
	if got := strings.Join(l.warned, "\n"); got != "mount /tmp: a bind has no option \"size=1k\", which is passed over\n"+
		"spec field linux.resources.memory: no limit of kernel and kernelTCP, which is passed over" {
		t.Errorf("warned %q", got)
	}
}

// A configuration may be large: what the kernel bears is done, and what it does not leaves nothing behind.
func TestLargeConfigurations(t *testing.T) {
	l := newLab(t)
	whole := l.spec.Mounts
	l.spec.Mounts = append(whole[:len(whole):len(whole)], manyMounts("tmpfs")...)
	l.sh("grep -c ' /tmp/' /proc/self/mounts")
	if got := l.run(); got != "10000" {
		t.Errorf("10,000 mounts: %q", got)
	}
	l.spec.Mounts = append(whole[:len(whole):len(whole)], manyMounts("bind")...)
	l.must(l.out.Truncate(0))
	if status, err := l.runtime.Run(l.ctx, l.options("run"), false); err != nil {
		l.wantError(err, "too many open files") // where the limit is that low
	} else if got := strings.Trim(l.said(), "\x00"); status != 0 || got != "10000" {
		t.Errorf("10,000 binds: %d, %q", status, got)
	}
	l.spec.Mounts = whole
	big := strings.Repeat("x", 10<<20)
	l.spec.Annotations = map[string]string{"big": big}
	l.sh("echo ran")
	if got := l.run(); got != "ran" {
		t.Errorf("10 MB of annotations: %q", got)
	}
	l.spec.Annotations = nil
	l.spec.Process.Env = append(l.spec.Process.Env, "BIG="+big)
	_, err := l.runtime.Run(l.ctx, l.options("run"), false)
	l.wantError(err, "argument list too long")
	l.spec.Annotations = map[string]string{"big": big}
	l.wantError(l.runtime.Create(l.ctx, l.options("big")), "more than 16777216")
	if entries, _ := os.ReadDir(l.runtime.Root); len(entries) > 0 {
		t.Errorf("left %v", entries)
	}
}

func manyMounts(kind string) (mounts []specs.Mount) {
	for i := range 10_000 {
		mounts = append(mounts, specs.Mount{Destination: fmt.Sprintf("/tmp/%d", i), Type: kind, Source: "/etc"})
	}
	return mounts
}
