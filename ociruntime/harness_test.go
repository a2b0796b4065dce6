package ociruntime_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"naru/engine/sandbox/fork"
	"naru/ociruntime"
)

// lab is a runtime with a bundle to run.
type lab struct {
	testing.TB
	ctx     context.Context
	runtime *ociruntime.Runtime
	bundle  string
	spec    *specs.Spec
	mu      sync.Mutex
	warned  []string
	out     *os.File // what containers say
}

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
	l := &lab{TB: t, ctx: ctx, bundle: t.TempDir()}
	elf, err := buildInit()
	l.must(err)
	l.runtime = &ociruntime.Runtime{Root: filepath.Join(t.TempDir(), "root"),
		Init: func() (*os.File, error) { return fork.Seal("init", bytes.NewReader(elf), 0o111) },
		Warn: func(err error) { l.mu.Lock(); l.warned = append(l.warned, err.Error()); l.mu.Unlock() }}
	for _, dir := range []string{"rootfs/bin", "rootfs/etc", "rootfs/tmp"} {
		l.must(os.MkdirAll(filepath.Join(l.bundle, dir), 0o755))
	}
	l.must(os.WriteFile(filepath.Join(l.bundle, "rootfs/etc/secret"), []byte("hidden"), 0o644))
	l.must(os.WriteFile(filepath.Join(l.bundle, "rootfs/bin/busybox"), box, 0o755))
	for _, applet := range []string{"sh", "true", "cat", "id", "ls", "sleep", "env", "hostname", "tty", "stty", "echo", "grep", "readlink", "touch", "stat", "ulimit", "cut", "head", "uname", "ionice", "mkdir", "test", "tr"} {
		l.must(os.Symlink("busybox", filepath.Join(l.bundle, "rootfs/bin", applet)))
	}
	l.out, err = os.Create(filepath.Join(t.TempDir(), "out"))
	l.must(err)
	l.spec, err = ociruntime.ExampleSpec()
	l.must(err)
	l.spec.Process.Terminal, l.spec.Process.Env, l.spec.Root.Readonly = false, []string{"PATH=/bin"}, false
	before := residue()
	t.Cleanup(func() {
		l.out.Close()
		l.clear()
		if after := residue(); after != before {
			t.Errorf("the test left something behind:\n%s\nbefore it:\n%s", after, before)
		}
	})
	return l
}

var buildInit = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "naru-init")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", dir+"/init", "../engine/sandbox/testdata/init")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the init: %w: %s", err, out)
	}
	return os.ReadFile(dir + "/init")
})

// residue lists what containers of these tests could leave.
func residue() string {
	groups, _ := filepath.Glob(fmt.Sprintf("/sys/fs/cgroup/*/naru-oci-*-%d", os.Getpid()))
	children, _ := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/children", os.Getpid()))
	return fmt.Sprintln(groups, string(children))
}

func (l *lab) must(err error) {
	l.Helper()
	if err != nil {
		l.Fatal(err)
	}
}

// id makes a name that no other test process uses.
func id(name string) string { return fmt.Sprintf("%s-%d", name, os.Getpid()) }

func (l *lab) sh(script string) { l.spec.Process.Args = []string{"sh", "-c", script} }

func (l *lab) options(name string) ociruntime.CreateOptions {
	l.Helper()
	b, err := json.Marshal(l.spec)
	l.must(err)
	l.must(os.WriteFile(filepath.Join(l.bundle, "config.json"), b, 0o644))
	null, err := os.Open(os.DevNull)
	l.must(err)
	l.Cleanup(func() { null.Close() })
	return ociruntime.CreateOptions{ID: id(name), Bundle: l.bundle, Stdio: ociruntime.Stdio{Files: [3]*os.File{null, l.out, l.out}}}
}

func (l *lab) create(name string) {
	l.Helper()
	l.must(l.runtime.Create(l.ctx, l.options(name)))
}

// run runs the bundle to its end and returns what it said.
func (l *lab) run() string {
	l.Helper()
	l.must(l.out.Truncate(0))
	_, err := l.out.Seek(0, io.SeekStart)
	l.must(err)
	status, err := l.runtime.Run(l.ctx, l.options("run"), false)
	l.must(err)
	if status != 0 {
		l.Errorf("exit status %d: %s", status, l.said())
	}
	return l.said()
}

func (l *lab) said() string {
	l.Helper()
	b, err := os.ReadFile(l.out.Name())
	l.must(err)
	return strings.TrimSuffix(string(b), "\n")
}

func (l *lab) status(name string) specs.ContainerState {
	l.Helper()
	s, err := l.runtime.State(id(name))
	l.must(err)
	return s.Status
}

// stop kills a container and waits until it has stopped; its parent, this process, reaps it.
func (l *lab) stop(name string) {
	l.Helper()
	s, err := l.runtime.State(id(name))
	l.must(err)
	l.must(l.runtime.Kill(id(name), unix.SIGKILL, false))
	var status unix.WaitStatus
	_, err = unix.Wait4(s.PID, &status, 0, nil)
	l.must(err)
}

// clear deletes what a test left, and reaps it.
func (l *lab) clear() {
	all, err := l.runtime.List()
	if err != nil {
		l.Error(err)
	}
	for _, s := range all {
		if err := l.runtime.Delete(l.ctx, s.ID, true); err != nil {
			l.Error(err)
		}
		reap() // before the next: the first process of a pid namespace ends when all others in it are reaped
	}
}

// reap takes leave of processes that have ended: this one is their parent.
func reap() {
	for {
		if pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); pid <= 0 || err != nil {
			return
		}
	}
}

// wantError wants an error with certain words.
func (l *lab) wantError(err error, words string) {
	l.Helper()
	if err == nil || !strings.Contains(err.Error(), words) {
		l.Errorf("want an error with %q, got %v", words, err)
	}
}

// exec runs a script in a container.
func (l *lab) exec(name, script string) (int, error) {
	return l.runtime.Exec(l.ctx, ociruntime.ExecOptions{ID: id(name), Stdio: ociruntime.Stdio{Files: [3]*os.File{nil, l.out, l.out}},
		Process: func(own *specs.Process) (*specs.Process, error) {
			own.Args = []string{"sh", "-c", script}
			return own, nil
		}})
}

// waitFor waits until a condition holds.
func (l *lab) waitFor(what string, holds func() bool) {
	l.Helper()
	for !holds() {
		if l.ctx.Err() != nil {
			l.Fatal("waited in vain: ", what)
		}
		time.Sleep(time.Millisecond)
	}
}
