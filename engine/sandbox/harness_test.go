package sandbox_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"naru/engine/sandbox"
	"naru/engine/sandbox/fork"
)

// group is the cgroup that all tests of this process work under.
func group() string { return fmt.Sprintf("/naru-test-%d", os.Getpid()) }

// lab is what a test needs to run containers: a spawner and a root with busybox.
type lab struct {
	testing.TB
	ctx   context.Context
	local *sandbox.Local
	layer string
}

var counter atomic.Int64 // names of containers

func newLab(t testing.TB) *lab {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: it makes namespaces, mounts and cgroups")
	}
	box, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Skip("needs busybox-static at /bin/busybox:", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // t's own ends before the cleanups that need one
	t.Cleanup(cancel)
	l := &lab{TB: t, ctx: ctx, local: &sandbox.Local{Exe: initBinary(t)}, layer: filepath.Join(t.TempDir(), "layer")}
	for _, dir := range []string{"bin", "etc", "tmp", "data"} {
		l.must(os.MkdirAll(filepath.Join(l.layer, dir), 0o755))
	}
	l.must(os.Chmod(filepath.Join(l.layer, "tmp"), 0o1777))
	l.must(os.WriteFile(filepath.Join(l.layer, "bin/busybox"), box, 0o755))
	for _, applet := range []string{"sh", "true", "cat", "id", "ls", "sleep", "mount", "unshare", "hostname", "touch", "tty", "stty", "chown", "wget", "ip", "env", "stat", "dd", "ulimit", "kill", "mkdir", "echo", "mknod", "ps", "rm", "grep", "readlink", "printf", "rmdir"} {
		l.must(os.Symlink("busybox", filepath.Join(l.layer, "bin", applet)))
	}
	l.must(os.WriteFile(filepath.Join(l.layer, "etc/passwd"), []byte("root:x:0:0:root:/root:/bin/sh\nanna:x:1000:1000::/home/anna:/bin/sh\n"), 0o644))
	before := residue(t)
	t.Cleanup(func() {
		if after := residue(t); after != before {
			t.Errorf("the test left something behind:\n%s\nbefore it:\n%s", after, before)
		}
	})
	return l
}

// initBinary is a real, small init in a sealed memfd, as the keeper has it.
func initBinary(t testing.TB) *os.File {
	t.Helper()
	elf, err := buildInit()
	if err != nil {
		t.Fatal(err)
	}
	f, err := fork.Seal("init", bytes.NewReader(elf), 0o111)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

var buildInit = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "naru-init")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", dir+"/init", "./testdata/init")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the init: %w: %s", err, out)
	}
	return os.ReadFile(dir + "/init")
})

// residue lists what a container could leave on the host: mounts, cgroups, child processes, network namespaces.
func residue(t testing.TB) string {
	t.Helper()
	var b strings.Builder
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, filepath.Dir(t.TempDir())) { // others test on this machine too
			b.WriteString(line)
		}
	}
	groups, _ := filepath.Glob("/sys/fs/cgroup/*" + group() + "/*")
	for _, g := range groups {
		if st, err := os.Stat(g); err == nil && st.IsDir() {
			fmt.Fprintln(&b, g)
		}
	}
	children, _ := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/children", os.Getpid()))
	fmt.Fprintf(&b, "children %s\n", children)
	return b.String()
}

func (l *lab) must(err error) {
	l.Helper()
	if err != nil {
		l.Fatal(err)
	}
}

// ids is the user namespace of tests.
func ids() []specs.LinuxIDMapping {
	return []specs.LinuxIDMapping{{ContainerID: 0, HostID: 200000, Size: 65536}}
}

// config is a container of the lab, in a user namespace, with all of Docker's defaults.
func (l *lab) config(args ...string) sandbox.Config {
	return l.configFor(sandbox.Defaults{Args: args, UIDMap: ids(), GIDMap: ids()})
}

func (l *lab) configFor(d sandbox.Defaults) sandbox.Config {
	l.Helper()
	d.Env = append(d.Env, "PATH=/bin")
	d.Hostname = "boat"
	spec, err := sandbox.DefaultSpec(d)
	l.must(err)
	id := fmt.Sprintf("c%d", counter.Add(1))
	snapshot := filepath.Join(l.TempDir(), id)
	l.must(os.MkdirAll(filepath.Join(snapshot, "fs"), 0o755))
	l.must(os.MkdirAll(filepath.Join(snapshot, "work"), 0o711))
	return sandbox.Config{
		ID: id, Spec: spec, CgroupPath: group() + "/" + id,
		Rootfs: sandbox.Rootfs{Lower: []string{l.layer}, Upper: filepath.Join(snapshot, "fs"), Work: filepath.Join(snapshot, "work")},
	}
}

// start starts a container whose output is read by output.
type running struct {
	*sandbox.Sandbox
	lab *lab
	cfg sandbox.Config
	out *os.File
}

func (l *lab) start(cfg sandbox.Config) *running {
	l.Helper()
	r, w, err := os.Pipe()
	l.must(err)
	cfg.Files[1], cfg.Files[2] = w, w
	box, err := sandbox.Start(l.ctx, cfg, l.local)
	w.Close()
	if err != nil {
		r.Close()
		l.Fatal("start: ", err)
	}
	run := &running{Sandbox: box, lab: l, cfg: cfg, out: r}
	l.Cleanup(run.end)
	return run
}

// wait returns what the container printed and how it ended.
func (r *running) wait() (string, sandbox.Exit) {
	r.lab.Helper()
	out, err := io.ReadAll(r.out)
	r.lab.must(err)
	exit, err := r.lab.local.Wait(r.lab.ctx, r.Sandbox)
	r.lab.must(err)
	r.PID = 0
	return string(out), exit
}

func (r *running) end() {
	if r.PID != 0 && r.lab.Failed() {
		sandbox.Freeze(r.cfg.CgroupPath, false)
	}
	if r.PID != 0 {
		sandbox.Kill(r.Sandbox, unix.SIGKILL)
		r.wait()
	}
	r.out.Close()
	r.Close()
	if err := sandbox.RemoveCgroup(r.lab.ctx, r.cfg.CgroupPath); err != nil {
		r.lab.Error(err)
	}
	sandbox.RemoveCgroup(r.lab.ctx, group())
}

// run runs a shell script to its end in a container, and returns its output.
func (l *lab) run(cfg sandbox.Config) string {
	l.Helper()
	out, exit := l.start(cfg).wait()
	if exit.Code != 0 {
		l.Fatalf("exit %+v: %s", exit, out)
	}
	return out
}

// sh is a container of the lab that runs a script.
func (l *lab) sh(script string) sandbox.Config { return l.config("sh", "-c", script) }
