package sandbox_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"naru/engine/sandbox"
	"naru/naru"
)

func TestSixNamespacesOfItsOwn(t *testing.T) {
	l := newLab(t)
	out := l.run(l.sh("for n in mnt pid net ipc uts user cgroup; do readlink /proc/self/ns/$n; done; hostname; echo pid $$; cat /proc/self/cgroup"))
	for _, n := range []string{"mnt", "pid", "net", "ipc", "uts", "user", "cgroup"} {
		mine, err := os.Readlink("/proc/self/ns/" + n)
		l.must(err)
		if strings.Contains(out, mine) {
			t.Errorf("shares the host's %s namespace", n)
		}
	}
	if !strings.Contains(out, "boat\npid 1\n") {
		t.Errorf("hostname and pid: %s", out)
	}
	if strings.Contains(out, "naru") {
		t.Errorf("sees where its cgroup is on the host: %s", out)
	}
}

func TestRootInsideIsNobodyOutsideAndFilesKeepTheImagesIDs(t *testing.T) {
	l := newLab(t)
	l.must(os.WriteFile(filepath.Join(l.layer, "data/old"), []byte("old"), 0o640))
	cfg := l.sh("id -u; stat -c %u:%g /data/old; echo new >/data/new; chown 1000:1000 /data/new; echo more >>/data/old; cat; cat /data/old")
	r, w, err := os.Pipe()
	l.must(err)
	cfg.Files[0] = r
	box := l.start(cfg)
	r.Close()
	if uid := statusField(t, box.PID, "Uid"); uid != "200000" {
		t.Errorf("on the host it runs as uid %s", uid)
	}
	w.Close()
	out, _ := box.wait()
	if out != "0\n0:0\noldmore\n" {
		t.Errorf("inside: %q", out)
	}
	for name, want := range map[string]uint32{"data/new": 1000, "data/old": 0} {
		if got := owner(t, filepath.Join(cfg.Rootfs.Upper, name)); got != want {
			t.Errorf("%s belongs to %d on disk, want %d", name, got, want)
		}
	}
	if got := owner(t, filepath.Join(l.layer, "data/old")); got != 0 {
		t.Errorf("the layer's file belongs to %d now", got)
	}
}

func owner(t *testing.T, path string) uint32 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatal(path, err)
	}
	return st.Uid
}

func statusField(t *testing.T, pid int, name string) string {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.Fields(v)[0]
		}
	}
	return ""
}

func TestWithoutAUserNamespace(t *testing.T) {
	l := newLab(t)
	cfg := l.configFor(sandbox.Defaults{Args: []string{"sh", "-c", "cat /proc/self/uid_map; stat -c %t:%T /dev/null; echo hi >/tmp/x; stat -c %u /tmp/x"}})
	out := l.run(cfg)
	if strings.Join(strings.Fields(out), " ") != "0 0 4294967295 1:3 0" {
		t.Errorf("got %s", out)
	}
}

func TestRightsAreExactlyTheSpecs(t *testing.T) {
	l := newLab(t)
	status := l.run(l.sh("cat /proc/self/status"))
	for _, want := range []string{"CapInh:\t0000000000000000", "CapPrm:\t00000000a80425fb", "CapEff:\t00000000a80425fb",
		"CapBnd:\t00000000a80425fb", "CapAmb:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"} {
		if !strings.Contains(status, want+"\n") {
			t.Errorf("lacks %q", want)
		}
	}
	cfg := l.configFor(sandbox.Defaults{Args: []string{"cat", "/proc/self/status"}, User: specs.User{UID: 1000, GID: 100, AdditionalGids: []uint32{7}}, UIDMap: ids(), GIDMap: ids()})
	cfg.Spec.Process.Capabilities.Inheritable = []string{"CAP_NET_BIND_SERVICE"}
	cfg.Spec.Process.Capabilities.Permitted = []string{"CAP_NET_BIND_SERVICE"}
	cfg.Spec.Process.Capabilities.Ambient = []string{"CAP_NET_BIND_SERVICE"}
	status = l.run(cfg)
	for _, want := range []string{"Uid:\t1000\t1000\t1000\t1000", "Gid:\t100\t100\t100\t100", "Groups:\t7 ",
		"CapInh:\t0000000000000400", "CapPrm:\t0000000000000400", "CapEff:\t0000000000000400", "CapAmb:\t0000000000000400"} {
		if !strings.Contains(status, want+"\n") {
			t.Errorf("as a user lacks %q", want)
		}
	}
}

func TestSeccompRefusesWhatDockerRefuses(t *testing.T) {
	l := newLab(t)
	// With every capability the kernel alone would allow these.
	cfg := l.sh("unshare -m true; mount -t tmpfs none /tmp; echo done")
	policy := cfg.Spec.Linux.Seccomp
	all := l.config("true").Spec.Process.Capabilities
	all.Bounding = append(all.Bounding, "CAP_SYS_ADMIN")
	all.Effective, all.Permitted = all.Bounding, all.Bounding
	cfg.Spec.Process.Capabilities, cfg.Spec.Linux.Seccomp = all, policy
	out := l.run(cfg)
	if !strings.HasPrefix(out, "unshare: unshare(0x20000): Operation not permitted\nmount: permission denied") {
		t.Errorf("got %s", out)
	}
	for _, nnp := range []bool{true, false} { // without it the filter is loaded before rights are dropped
		cfg := l.sh("grep Seccomp: /proc/self/status")
		cfg.Spec.Process.NoNewPrivileges = nnp
		if out := l.run(cfg); out != "Seccomp:\t2\n" {
			t.Errorf("no_new_privs %v: %s", nnp, out)
		}
	}
}

func TestGuardedPaths(t *testing.T) {
	l := newLab(t)
	l.must(os.MkdirAll(filepath.Join(l.layer, "secret/deep"), 0o755))
	cfg := l.sh("cat /proc/keys /proc/timer_list; ls /sys/firmware /secret; touch /secret/x; echo 1 >/proc/sys/kernel/domainname; touch /x; touch /sys/x; touch /sys/fs/cgroup/x; touch /tmp/ok && echo end")
	cfg.Spec.Linux.MaskedPaths = append(cfg.Spec.Linux.MaskedPaths, "/secret", "/not/there")
	cfg.Spec.Linux.ReadonlyPaths = append(cfg.Spec.Linux.ReadonlyPaths, "/not/there/either")
	cfg.Spec.Root.Readonly = true
	cfg.Spec.Mounts = append(cfg.Spec.Mounts, specs.Mount{Destination: "/tmp", Type: "tmpfs", Source: "tmpfs"})
	out := l.run(cfg)
	if strings.Count(out, "Read-only file system") != 5 || !strings.HasSuffix(out, "end\n") || strings.Contains(out, "deep") {
		t.Errorf("got %s", out)
	}
	if len(strings.Split(out, "\n")) > 10 {
		t.Errorf("something shows through: %s", out)
	}
}

func TestLimitsAreTheKernels(t *testing.T) {
	l := newLab(t)
	limit, pids, quota, period := int64(64<<20), int64(50), int64(50000), uint64(100000)
	cfg := l.sh("ulimit -n; ulimit -c; cat /sys/fs/cgroup/*/memory.limit_in_bytes /sys/fs/cgroup/*/pids.max /sys/fs/cgroup/*/cpu.cfs_quota_us " +
		"/sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max /sys/fs/cgroup/cpu.max 2>/dev/null; dd if=/dev/vda of=/dev/null count=1 2>&1; true")
	res := cfg.Spec.Linux.Resources
	res.Memory, res.Pids = &specs.LinuxMemory{Limit: &limit}, &specs.LinuxPids{Limit: &pids}
	res.CPU = &specs.LinuxCPU{Quota: &quota, Period: &period}
	cfg.Spec.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_CORE"}}
	out := l.run(cfg)
	v1 := "1024\n0\n67108864\n50\n50000\n"
	v2 := "1024\n0\n67108864\n50\n50000 100000\n"
	if !strings.HasPrefix(out, v1) && !strings.HasPrefix(out, v2) {
		t.Errorf("got %s", out)
	}
}

func TestDeviceRulesHold(t *testing.T) {
	l := newLab(t)
	// Without a user namespace making the node works (CAP_MKNOD), so that the cgroup alone refuses its use.
	script := "mknod /tmp/kmsg c 1 11 && mknod /tmp/zero c 1 5 && dd if=/tmp/zero of=/dev/null count=1 2>/dev/null && echo zero; cat /tmp/kmsg"
	cfg := l.configFor(sandbox.Defaults{Args: []string{"sh", "-c", script}})
	out, _ := l.start(cfg).wait()
	if !strings.HasPrefix(out, "zero\n") || !strings.Contains(out, "Operation not permitted") {
		t.Errorf("got %s", out)
	}
}

func TestMountsCannotLeaveTheRootThroughLinksOfTheImage(t *testing.T) {
	l := newLab(t)
	outside := t.TempDir()
	for name, target := range map[string]string{"up": "../../../../../../.." + outside, "abs": outside, "magic": "/proc/self/cwd", "root": "/proc/1/root" + outside} {
		l.must(os.Symlink(target, filepath.Join(l.layer, name)))
	}
	volume := t.TempDir()
	for _, name := range []string{"up", "abs", "magic", "root"} {
		cfg := l.sh("true")
		cfg.Spec.Mounts = append(cfg.Spec.Mounts, specs.Mount{Destination: "/" + name + "/volume", Source: volume, Options: []string{"rbind"}})
		box, err := sandbox.Start(l.ctx, cfg, l.local)
		if err == nil {
			run := &running{Sandbox: box, lab: l, cfg: cfg, out: os.Stdin}
			l.local.Wait(l.ctx, box)
			box.Close()
			l.must(sandbox.RemoveCgroup(l.ctx, run.cfg.CgroupPath))
		}
		if (name == "magic" || name == "root") != (err != nil) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if left, _ := os.ReadDir(outside); len(left) > 0 {
		t.Errorf("made %v on the host", left)
	}
	sandbox.RemoveCgroup(l.ctx, group())
}

func TestBindsAndVolumes(t *testing.T) {
	l := newLab(t)
	volume, file := t.TempDir(), filepath.Join(t.TempDir(), "hosts")
	l.must(os.WriteFile(file, []byte("1.2.3.4 there\n"), 0o644))
	cfg := l.sh("cat /etc/hosts; touch /etc/hosts; echo mine >/new/volume/f; stat -c %u /new/volume")
	cfg.Spec.Mounts = append(cfg.Spec.Mounts,
		specs.Mount{Destination: "/etc/hosts", Type: "bind", Source: file, Options: []string{"rbind", "rro"}},
		specs.Mount{Destination: "/new/volume", Type: "bind", Source: volume, Options: []string{"rbind", "idmap"}})
	out := l.run(cfg)
	if !strings.HasPrefix(out, "1.2.3.4 there\n") || !strings.Contains(out, "Read-only") || !strings.HasSuffix(out, "\n0\n") {
		t.Errorf("got %s", out)
	}
	if got := owner(t, filepath.Join(volume, "f")); got != 0 {
		t.Errorf("the volume's file belongs to %d on disk", got)
	}
}

// As images of systemd's distributions have it: /etc/resolv.conf is a link to a file that only a running system makes.
func TestABindOntoALinkThatLeadsNowhereMakesWhatItLeadsTo(t *testing.T) {
	l := newLab(t)
	l.must(os.MkdirAll(filepath.Join(l.layer, "etc"), 0o755))
	l.must(os.Symlink("../run/systemd/resolve/stub", filepath.Join(l.layer, "etc/resolv.conf")))
	file := filepath.Join(t.TempDir(), "resolv.conf")
	l.must(os.WriteFile(file, []byte("nameserver 10.0.0.1\n"), 0o644))
	cfg := l.sh("cat /etc/resolv.conf /run/systemd/resolve/stub")
	cfg.Spec.Mounts = append(cfg.Spec.Mounts, specs.Mount{Destination: "/etc/resolv.conf", Type: "bind", Source: file, Options: []string{"rbind"}})
	if out := l.run(cfg); out != strings.Repeat("nameserver 10.0.0.1\n", 2) {
		t.Errorf("got %s", out)
	}
}

func TestManyLayers(t *testing.T) {
	l := newLab(t)
	cfg := l.sh("ls /l | wc -l")
	l.must(os.Symlink("busybox", filepath.Join(l.layer, "bin/wc")))
	for i := range 120 {
		dir := filepath.Join(t.TempDir(), strings.Repeat("deep/", 10), fmt.Sprint(i), "fs")
		l.must(os.MkdirAll(filepath.Join(dir, "l"), 0o755))
		l.must(os.WriteFile(filepath.Join(dir, "l", fmt.Sprint(i)), nil, 0o644))
		cfg.Rootfs.Lower = append([]string{dir}, cfg.Rootfs.Lower...)
	}
	if out := l.run(cfg); strings.TrimSpace(out) != "120" {
		t.Errorf("got %s", out)
	}
}

// Layers carry their marks as user.overlay.* attributes only, whoever unpacked them: an overlay reads those with a user
// namespace and without.
func TestOpaqueFoldersOfLayers(t *testing.T) {
	l := newLab(t)
	l.must(os.WriteFile(filepath.Join(l.layer, "data/below"), nil, 0o644))
	above := filepath.Join(t.TempDir(), "above")
	l.must(os.MkdirAll(filepath.Join(above, "data"), 0o755))
	l.must(unix.Setxattr(filepath.Join(above, "data"), "user.overlay.opaque", []byte("y"), 0))
	for _, maps := range [][]specs.LinuxIDMapping{ids(), nil} {
		cfg := l.configFor(sandbox.Defaults{Args: []string{"ls", "/data"}, UIDMap: maps, GIDMap: maps})
		cfg.Rootfs.Lower = append([]string{above}, cfg.Rootfs.Lower...)
		if out := l.run(cfg); out != "" {
			t.Errorf("with maps %v sees %s", maps, out)
		}
	}
}

func TestAMissingWorkingDirectoryIsMadeWhenAsked(t *testing.T) {
	l := newLab(t)
	cfg := l.config("sh", "-c", "pwd")
	cfg.Spec.Process.Cwd, cfg.MakeCwd = "/a/b", true
	if out := l.run(cfg); out != "/a/b\n" {
		t.Errorf("got %q", out)
	}
}

func TestRemovedFoldersOfTheImageCanBeMadeAgain(t *testing.T) {
	l := newLab(t)
	l.must(os.WriteFile(filepath.Join(l.layer, "data/old"), nil, 0o644))
	if out := l.run(l.sh("rm -r /data && mkdir /data && ls /data")); out != "" {
		t.Errorf("the old files are back: %s", out)
	}
}

func TestErrorsSayWhatFailedInside(t *testing.T) {
	l := newLab(t)
	fail := func(what string, change func(*sandbox.Config)) error {
		cfg := l.sh("true")
		change(&cfg)
		box, err := sandbox.Start(l.ctx, cfg, l.local)
		if err == nil {
			box.Close()
			t.Fatalf("%s: started", what)
		}
		return err
	}
	err := fail("missing program", func(c *sandbox.Config) { c.Spec.Process.Args = []string{"foo"} })
	var e *sandbox.ExecError
	if !errors.As(err, &e) || e.ExitCode() != 127 || err.Error() != `exec "foo": no such file or directory` || naru.CodeOf(err) != naru.Failed {
		t.Errorf("missing program: %v", err)
	}
	err = fail("a folder", func(c *sandbox.Config) { c.Spec.Process.Args = []string{"/etc"} })
	if !errors.As(err, &e) || e.ExitCode() != 126 {
		t.Errorf("a folder as program: %v", err)
	}
	err = fail("cwd", func(c *sandbox.Config) { c.Spec.Process.Cwd = "/nowhere" })
	if err.Error() != "working directory /nowhere: no such file or directory" {
		t.Errorf("bad cwd: %v", err)
	}
	err = fail("source", func(c *sandbox.Config) {
		c.Spec.Mounts = append(c.Spec.Mounts, specs.Mount{Destination: "/x", Source: "/no/such", Options: []string{"bind"}})
	})
	if !strings.Contains(err.Error(), "mount /no/such: no such file") {
		t.Errorf("bad source: %v", err)
	}
	err = fail("sysctl", func(c *sandbox.Config) { c.Spec.Linux.Sysctl = map[string]string{"net.nope": "1"} })
	if !strings.Contains(err.Error(), "sysctl /proc/sys/net/nope") {
		t.Errorf("bad sysctl: %v", err)
	}
	err = fail("attach", func(c *sandbox.Config) {
		c.Attach = func(context.Context, *os.File) error { return errors.New("no cable") }
	})
	if !strings.Contains(err.Error(), "attach the network: no cable") {
		t.Errorf("attach: %v", err)
	}
	sandbox.RemoveCgroup(l.ctx, group())
}

func TestAttachSeesTheContainersNetwork(t *testing.T) {
	l := newLab(t)
	cfg := l.sh("readlink /proc/self/ns/net")
	var seen uint64
	cfg.Attach = func(_ context.Context, netns *os.File) error {
		var st unix.Stat_t
		defer func() { seen = st.Ino }()
		return unix.Fstat(int(netns.Fd()), &st)
	}
	if out := l.run(cfg); strings.TrimSpace(out) != fmt.Sprintf("net:[%d]", seen) {
		t.Errorf("attached %d, ran in %s", seen, out)
	}
}

func TestACancelledStartLeavesNothing(t *testing.T) {
	l := newLab(t)
	cfg := l.sh("true")
	ctx, cancel := context.WithCancel(l.ctx)
	cfg.Attach = func(ctx context.Context, _ *os.File) error { cancel(); <-ctx.Done(); return ctx.Err() }
	if _, err := sandbox.Start(ctx, cfg, l.local); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	sandbox.RemoveCgroup(l.ctx, group())
}

func TestStdioCanBeOpenedAgainByTheUser(t *testing.T) {
	l := newLab(t)
	cfg := l.configFor(sandbox.Defaults{Args: []string{"sh", "-c", "echo out >/dev/stdout; echo err >/dev/stderr"}, User: specs.User{UID: 1000}, UIDMap: ids(), GIDMap: ids()})
	if out := l.run(cfg); out != "out\nerr\n" {
		t.Errorf("got %q", out)
	}
}

func TestHomeIsTheUsers(t *testing.T) {
	l := newLab(t)
	cfg := l.configFor(sandbox.Defaults{Args: []string{"sh", "-c", "echo $HOME"}, User: specs.User{UID: 1000}, UIDMap: ids(), GIDMap: ids()})
	if out := l.run(cfg); out != "/home/anna\n" {
		t.Errorf("got %q", out)
	}
}

// A descriptor that the starter forgot to close at exec is what CVE-2024-21626 lived on: the init closes all.
func TestNoDescriptorLeaksIn(t *testing.T) {
	l := newLab(t)
	leak, err := unix.Open("/", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	l.must(err)
	defer unix.Close(leak)
	if out := l.run(l.config("ls", "/proc/self/fd")); out != "0\n1\n2\n3\n" { // 3 is ls's own
		t.Errorf("got %q", out)
	}
}

func TestOOMIsSeen(t *testing.T) {
	l := newLab(t)
	limit := int64(16 << 20)
	cfg := l.sh("dd if=/dev/zero of=/dev/null bs=64M count=1")
	cfg.Spec.Linux.Resources.Memory = &specs.LinuxMemory{Limit: &limit, Swap: &limit}
	box := l.start(cfg)
	box.wait()
	if killed, err := sandbox.OOMKilled(cfg.CgroupPath); err != nil || !killed {
		t.Errorf("OOM: %v, %v", killed, err)
	}
}

func TestRemoveCgroupKillsWhatIsLeft(t *testing.T) {
	l := newLab(t)
	cfg := l.sh("sleep 1000 & sleep 1000 & echo up; wait")
	box := l.start(cfg)
	io.ReadFull(box.out, make([]byte, 3))
	usage, err := sandbox.Stats(cfg.CgroupPath)
	if err != nil || usage.PIDs != 3 || usage.MemoryBytes == 0 || usage.CPU == 0 {
		t.Errorf("usage %+v, %v", usage, err)
	}
	if names, err := sandbox.ListCgroups(group()); err != nil || len(names) != 1 || names[0] != cfg.ID {
		t.Errorf("cgroups %v, %v", names, err)
	}
	l.must(sandbox.Freeze(cfg.CgroupPath, true))
	l.must(sandbox.RemoveCgroup(l.ctx, cfg.CgroupPath))
	if _, exit := box.wait(); exit.Signal != int(unix.SIGKILL) {
		t.Errorf("ended with %+v", exit)
	}
	l.must(sandbox.RemoveCgroup(l.ctx, cfg.CgroupPath)) // again: nothing to do
}

func TestUpdateChangesLimits(t *testing.T) {
	l := newLab(t)
	limit := int64(32 << 20)
	cfg := l.sh("echo up; cat")
	r, w, err := os.Pipe()
	l.must(err)
	cfg.Files[0] = r
	box := l.start(cfg)
	r.Close()
	defer w.Close()
	io.ReadFull(box.out, make([]byte, 3))
	l.must(sandbox.Update(cfg.CgroupPath, &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: &limit}}))
	if usage, err := sandbox.Stats(cfg.CgroupPath); err != nil || usage.MemoryLimitBytes != uint64(limit) {
		t.Errorf("limit %d, %v", usage.MemoryLimitBytes, err)
	}
}
