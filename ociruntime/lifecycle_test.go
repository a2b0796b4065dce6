package ociruntime_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// runtime.md, Create: "the user-specified program (from process) MUST NOT be run at this time"; Start: "This operation
// MUST run the user-specified program as specified by process"; State: the four states.
func TestLifecycle(t *testing.T) {
	l := newLab(t)
	l.sh("echo ran; exec sleep 1000")
	l.create("life")
	if s := l.status("life"); s != specs.StateCreated || l.said() != "" {
		t.Errorf("after create: %s, said %q", s, l.said())
	}
	l.must(l.runtime.Start(l.ctx, id("life")))
	l.waitFor("the program's word", func() bool { return l.said() == "ran" })
	if s := l.status("life"); s != specs.StateRunning {
		t.Errorf("after start: %s", s)
	}
	l.stop("life")
	if s := l.status("life"); s != specs.StateStopped {
		t.Errorf("after its end: %s", s)
	}
	l.must(l.runtime.Delete(l.ctx, id("life"), false))
	_, err := l.runtime.State(id("life"))
	l.wantError(err, "container does not exist")
}

// runtime.md, Kill: "This operation MUST send the specified signal to the container process." Who stays with a container
// passes on what it gets.
func TestSignals(t *testing.T) {
	l := newLab(t)
	l.sh("trap 'echo usr1' USR1; trap 'exit 7' TERM; echo ready; while :; do sleep 0.02; done")
	l.create("signals")
	l.must(l.runtime.Start(l.ctx, id("signals")))
	l.waitFor("the program's word", func() bool { return l.said() == "ready" })
	l.must(l.runtime.Kill(id("signals"), unix.SIGUSR1, false))
	l.waitFor("its answer", func() bool { return l.said() == "ready\nusr1" })
	l.stop("signals")
	l.must(l.runtime.Delete(l.ctx, id("signals"), false))

	signals := make(chan os.Signal, 1)
	signals <- unix.SIGKILL
	o := l.options("run")
	o.Signals = signals
	if status, err := l.runtime.Run(l.ctx, o, false); err != nil || status != 128+9 {
		t.Errorf("exit status %d, %v", status, err)
	}
}

// runtime.md, Create: "the ID provided MUST be unique across all containers within the scope of the runtime. If it is
// not, the implementation MUST generate an error, and a new container MUST NOT be created".
func TestAnIDIsUnique(t *testing.T) {
	l := newLab(t)
	l.sh("exec sleep 1000")
	l.create("twin")
	l.wantError(l.runtime.Create(l.ctx, l.options("twin")), "container with given ID already exists")
	if s := l.status("twin"); s != specs.StateCreated {
		t.Errorf("the first one is %s", s)
	}
	for _, bad := range []string{"", ".", "..", "a/b", "a b", strings.Repeat("x", 2000)} {
		o := l.options("x")
		o.ID = bad
		l.wantError(l.runtime.Create(l.ctx, o), "invalid container id")
	}
}

// runtime.md: "Attempting to query a container that does not exist MUST generate an error", and so for start, kill and
// delete; "Attempting to start a container that is not created MUST have no effect on the container and MUST generate
// an error"; "Attempting to send a signal to a container that is neither created nor running MUST have no effect …
// and MUST generate an error"; "Attempting to delete a container that is not stopped MUST have no effect … and MUST
// generate an error".
func TestWhatAStateForbids(t *testing.T) {
	l := newLab(t)
	none := id("none")
	_, err := l.runtime.State(none)
	l.wantError(err, "does not exist")
	l.wantError(l.runtime.Start(l.ctx, none), "does not exist")
	l.wantError(l.runtime.Kill(none, unix.SIGTERM, false), "does not exist")
	l.wantError(l.runtime.Delete(l.ctx, none, false), "does not exist")

	l.sh("exec sleep 1000")
	l.create("c")
	l.wantError(l.runtime.Delete(l.ctx, id("c"), false), "is not stopped: created")
	l.must(l.runtime.Start(l.ctx, id("c")))
	l.wantError(l.runtime.Start(l.ctx, id("c")), "cannot start a container in the running state")
	l.wantError(l.runtime.Delete(l.ctx, id("c"), false), "is not stopped: running")
	if s := l.status("c"); s != specs.StateRunning {
		t.Errorf("it is %s", s)
	}
	l.stop("c")
	l.wantError(l.runtime.Start(l.ctx, id("c")), "cannot start a container in the stopped state")
	l.wantError(l.runtime.Kill(id("c"), unix.SIGTERM, false), "container not running")
	_, err = l.exec("c", "true")
	l.wantError(err, "container not running")
}

// runtime.md, Delete: "Deleting a container MUST delete the resources that were created during the create step".
// "resources associated with the container, but not created by this container, MUST NOT be deleted".
// newLab's check of cgroups and processes ends this test; the folder is this one's.
func TestDeleteLeavesNothing(t *testing.T) {
	l := newLab(t)
	l.sh("sleep 1000 & exec sleep 1000")
	l.create("gone")
	l.must(l.runtime.Start(l.ctx, id("gone")))
	l.stop("gone")
	l.must(l.runtime.Delete(l.ctx, id("gone"), false))
	if entries, err := os.ReadDir(l.runtime.Root); err != nil || len(entries) > 0 {
		t.Errorf("left %v, %v", entries, err)
	}
	l.must(l.runtime.Delete(l.ctx, id("gone"), true)) // with force, one that is gone is no error
	if _, err := os.Stat(filepath.Join(l.bundle, "rootfs/bin/busybox")); err != nil {
		t.Errorf("it took what it had not made: %v", err)
	}
}

// runtime.md, Create: "Any changes made to the config.json file after this operation will not have an effect on the
// container"; config.md: "Runtimes … MUST NOT generate an error if they encounter an unknown property"; runtime.md,
// Create: errors leave nothing.
func TestConfigIsReadOnceAndLeniently(t *testing.T) {
	l := newLab(t)
	l.sh("echo first")
	o := l.options("once")
	config := filepath.Join(l.bundle, "config.json")
	b, err := os.ReadFile(config)
	l.must(err)
	l.must(os.WriteFile(config, []byte(`{"org.example.unknown": {"a": [1]}, `+string(b[1:])), 0o644))
	l.must(l.runtime.Create(l.ctx, o))
	l.sh("echo second")
	l.options("once")
	l.must(l.runtime.Start(l.ctx, id("once")))
	l.waitFor("its word", func() bool { return l.said() != "" })
	if l.said() != "first" {
		t.Errorf("said %q", l.said())
	}
}

func TestACreateThatFailsLeavesNothing(t *testing.T) {
	l := newLab(t)
	for words, change := range map[string]func(*specs.Spec){
		"spec field ociVersion":         func(s *specs.Spec) { s.Version = "2.0.0" },
		"spec field ociVersion \"1.x\"": func(s *specs.Spec) { s.Version = "1.x" },
		"spec field annotations":        func(s *specs.Spec) { s.Annotations = map[string]string{"": "x"} },
		"spec field linux.netDevices":   func(s *specs.Spec) { s.Linux.NetDevices = map[string]specs.LinuxNetDevice{"eth9": {}} },
		"spec field hooks.createContainer: time": func(s *specs.Spec) {
			zero := 0
			s.Hooks = &specs.Hooks{CreateContainer: []specs.Hook{{Path: "/x", Timeout: &zero}}}
		},
		"spec field root is missing":             func(s *specs.Spec) { s.Root = nil },
		"spec field root.path":                   func(s *specs.Spec) { s.Root.Path = "nowhere" },
		"spec field process is missing":          func(s *specs.Spec) { s.Process = nil },
		"spec field process.cwd is not absolute": func(s *specs.Spec) { s.Process.Cwd = "x" },
		"spec field linux.intelRdt":              func(s *specs.Spec) { s.Linux.IntelRdt = &specs.LinuxIntelRdt{ClosID: "x"} },
		"spec field linux.cgroupsPath":           func(s *specs.Spec) { s.Linux.CgroupsPath = "a.slice:b:c" },
		"spec field hooks.poststop":              func(s *specs.Spec) { s.Hooks = &specs.Hooks{Poststop: []specs.Hook{{Path: "x"}}} },
		"mount /nowhere": func(s *specs.Spec) {
			s.Mounts = append(s.Mounts, specs.Mount{Destination: "/x", Source: "/nowhere", Type: "bind"})
		},
		"sysctl /proc/sys/kernel/nothing":   func(s *specs.Spec) { s.Linux.Sysctl = map[string]string{"kernel.nothing": "1"} },
		"hook /nowhere: fork/exec /nowhere": func(s *specs.Spec) { s.Hooks = &specs.Hooks{CreateRuntime: []specs.Hook{{Path: "/nowhere"}}} },
		"spec field linux.namespaces: open the user name": func(s *specs.Spec) {
			s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: "user", Path: "/x"})
		},
	} {
		b, err := json.Marshal(l.spec)
		l.must(err)
		whole := l.spec
		l.spec = &specs.Spec{}
		l.must(json.Unmarshal(b, l.spec))
		change(l.spec)
		l.wantError(l.runtime.Create(l.ctx, l.options("bad")), words)
		l.spec = whole
		if entries, _ := os.ReadDir(l.runtime.Root); len(entries) > 0 {
			t.Errorf("%s left %v", words, entries)
		}
	}
}

// runtime.md, State: ociVersion, id, status, pid, bundle and annotations; "the runtime MUST return the state".
func TestState(t *testing.T) {
	l := newLab(t)
	l.spec.Annotations = map[string]string{"org.example.a": "b"}
	l.sh("exec sleep 1000")
	o := l.options("state")
	o.PIDFile = filepath.Join(t.TempDir(), "pid")
	l.must(l.runtime.Create(l.ctx, o))
	s, err := l.runtime.State(id("state"))
	l.must(err)
	b, err := json.Marshal(s)
	l.must(err)
	var got specs.State
	l.must(json.Unmarshal(b, &got))
	if got.Version != specs.Version || got.ID != id("state") || got.Status != specs.StateCreated || got.Bundle != l.bundle || got.Annotations["org.example.a"] != "b" {
		t.Errorf("got %s", b)
	}
	if pid, _ := os.ReadFile(o.PIDFile); string(pid) != fmt.Sprint(got.Pid) || got.Pid == 0 {
		t.Errorf("the pid file has %q, the state %d", pid, got.Pid)
	}
	all, err := l.runtime.List()
	if err != nil || len(all) != 1 || all[0].ID != id("state") {
		t.Errorf("listed %v, %v", all, err)
	}
}

// A program that is not there is an error of create, as with runc, in the words that callers look for; one that cannot
// be executed is an error of start, and the container has stopped.
func TestAProgramThatCannotRun(t *testing.T) {
	l := newLab(t)
	for program, words := range map[string]string{
		"nosuch":      `exec: "nosuch": executable file not found in $PATH`,
		"/bin/nosuch": `exec: "/bin/nosuch": no such file or directory`,
		"/etc/secret": `exec: "/etc/secret": permission denied`,
	} {
		l.spec.Process.Args = []string{program}
		l.wantError(l.runtime.Create(l.ctx, l.options("missing")), words)
	}
	l.spec.Process.Args = []string{"/etc"}
	l.create("folder")
	s, err := l.runtime.State(id("folder"))
	l.must(err)
	l.wantError(l.runtime.Start(l.ctx, id("folder")), `exec: "/etc": permission denied`)
	_, err = unix.Wait4(s.PID, nil, 0, nil)
	l.must(err)
	l.must(l.runtime.Delete(l.ctx, id("folder"), false))
}

func TestPauseUpdateAndUsage(t *testing.T) {
	l := newLab(t)
	l.sh("exec sleep 1000")
	l.create("live")
	l.wantError(l.runtime.Pause(id("live")), "is created, not running")
	l.must(l.runtime.Start(l.ctx, id("live")))
	l.must(l.runtime.Pause(id("live")))
	if s := l.status("live"); s != "paused" {
		t.Errorf("it is %s", s)
	}
	_, err := l.exec("live", "true")
	l.wantError(err, "is paused")
	l.must(l.runtime.Resume(id("live")))
	limit := int64(64 << 20)
	l.must(l.runtime.Update(id("live"), &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: &limit}}))
	event, err := l.runtime.Stats(id("live"))
	if err != nil || event.Data.Memory.Usage.Limit != uint64(limit) || event.Data.Pids.Current != 1 {
		t.Errorf("got %+v, %v", event.Data, err)
	}
	l.must(l.runtime.Kill(id("live"), unix.SIGKILL, true))
}
