package engine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"naru/engine"
	"naru/engine/logs"
	"naru/internal/enginetest"
	"naru/naru"
)

// rig adds the words of these tests.
type rig struct {
	*enginetest.Rig
	t *testing.T
}

func newRig(t *testing.T) *rig {
	t.Helper()
	return &rig{enginetest.New(t), t}
}

// start makes and starts a container that runs a shell script.
func (r *rig) start(script string, change ...func(*engine.ContainerSpec)) engine.Container {
	r.t.Helper()
	spec := engine.ContainerSpec{Image: "busybox", Command: []string{"/bin/sh", "-c", script}}
	for _, c := range change {
		c(&spec)
	}
	c, err := r.Create(r.t.Context(), spec)
	if err != nil {
		r.t.Fatal(err)
	}
	if err := r.Start(r.t.Context(), c.ID); err != nil {
		r.t.Fatal(err)
	}
	return r.get(c.ID)
}

func (r *rig) get(id string) engine.Container {
	r.t.Helper()
	c, err := r.Get(r.t.Context(), id)
	if err != nil {
		r.t.Fatal(err)
	}
	return c
}

func (r *rig) wait(id string) engine.Container {
	r.t.Helper()
	c, err := r.Wait(r.t.Context(), id)
	if err != nil {
		r.t.Fatal(err)
	}
	return c
}

func (r *rig) output(id string) string {
	r.t.Helper()
	var out strings.Builder
	for entry, err := range r.Logs(r.t.Context(), id, logs.Options{Follow: true}) {
		if err != nil {
			r.t.Fatal(err)
		}
		out.Write(entry.Data)
	}
	return out.String()
}

const forever = "trap 'exit 0' TERM; echo up; while :; do sleep 0.05; done"

func TestAContainerRunsIsHeardAndLeavesItsStatus(t *testing.T) {
	r := newRig(t)
	c := r.start("echo out; echo err >&2; hostname; exit 7")
	c = r.wait(c.ID)
	if c.State != engine.Exited || c.ExitCode != 7 || c.PID != 0 || c.FinishedAt.IsZero() {
		t.Fatalf("%+v", c)
	}
	if out := r.output(c.ID); !strings.Contains(out, "out\n") || !strings.Contains(out, "err\n") || !strings.Contains(out, c.ShortID()) {
		t.Fatalf("output %q", out)
	}
}

func TestAllSixNamespacesAreItsOwn(t *testing.T) {
	r := newRig(t)
	c := r.start(forever)
	for _, ns := range []string{"pid", "net", "mnt", "user", "uts", "ipc"} {
		mine, err := os.Readlink("/proc/self/ns/" + ns)
		if err != nil {
			t.Fatal(err)
		}
		its, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", c.PID, ns))
		if err != nil {
			t.Fatal(err)
		}
		if mine == its {
			t.Errorf("it shares the host's %s namespace", ns)
		}
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.PID))
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("Uid:\t%d\t", c.IDBase); !strings.Contains(string(status), want) {
		t.Errorf("its root is not user %d outside", c.IDBase)
	}
}

func TestStopAsksThenKills(t *testing.T) {
	r := newRig(t)
	kind := r.start(forever)
	r.waitOutput(kind.ID, "up")
	if err := r.Stop(t.Context(), kind.ID, 0); err != nil {
		t.Fatal(err)
	}
	if c := r.get(kind.ID); c.State != engine.Exited || c.ExitCode != 0 {
		t.Fatalf("asked kindly: %s, status %d", c.State, c.ExitCode)
	}
	deaf := r.start("trap '' TERM; echo deaf; while :; do sleep 0.05; done")
	r.waitOutput(deaf.ID, "deaf")
	if err := r.Stop(t.Context(), deaf.ID, 100*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if c := r.get(deaf.ID); c.ExitCode != 137 {
		t.Fatalf("deaf: status %d, want 137", c.ExitCode)
	}
}

// waitOutput waits until the container has printed the text.
func (r *rig) waitOutput(id, text string) {
	r.t.Helper()
	var out strings.Builder
	for entry, err := range r.Logs(r.t.Context(), id, logs.Options{Follow: true}) {
		if err != nil {
			r.t.Fatal(err)
		}
		if out.Write(entry.Data); strings.Contains(out.String(), text) {
			return
		}
	}
	r.t.Fatalf("it never printed %q: %q", text, out.String())
}

func TestExecGivesOutputInputAndStatus(t *testing.T) {
	r := newRig(t)
	c := r.start(forever)
	var stdout, stderr bytes.Buffer
	code, err := r.Exec(t.Context(), c.ID, engine.ExecSpec{Command: []string{"/bin/sh", "-c", "cat; echo $A; echo bad >&2; exit 5"}, Env: []string{"A=b"}},
		engine.Streams{Stdin: strings.NewReader("typed\n"), Stdout: &stdout, Stderr: &stderr})
	if err != nil || code != 5 || stdout.String() != "typed\nb\n" || stderr.String() != "bad\n" {
		t.Fatalf("status %d, %v, out %q, err %q", code, err, stdout.String(), stderr.String())
	}
	if _, err := r.Exec(t.Context(), c.ID, engine.ExecSpec{Command: []string{"nope"}}, engine.Streams{}); err == nil || !strings.Contains(err.Error(), "nope") {
		t.Fatalf("a program that is not there: %v", err)
	}
}

func TestANewEngineAdoptsWhatRunsAndHearsOfWhatEnded(t *testing.T) {
	r := newRig(t)
	stays := r.start(forever)
	ends := r.start("trap 'echo last words; exit 9' USR1; echo armed; while :; do sleep 0.02; done")
	r.waitOutput(ends.ID, "armed")
	r.Shut()
	// Nobody is there when it ends.
	if err := unix.Kill(ends.PID, unix.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	waitGone(t, ends.PID)
	r.Open()
	if c := r.get(stays.ID); c.State != engine.Running || c.PID != stays.PID {
		t.Fatalf("adopted as %s with pid %d, was %d", c.State, c.PID, stays.PID)
	}
	if c := r.wait(ends.ID); c.ExitCode != 9 {
		t.Fatalf("status %d, want 9", c.ExitCode)
	}
	if out := r.output(ends.ID); !strings.Contains(out, "last words") {
		t.Fatalf("output %q: what it said alone is lost", out)
	}
	if err := r.Stop(t.Context(), stays.ID, 0); err != nil {
		t.Fatal(err)
	}
}

// The keeper is asked for its processes first, and for each of them after that: meanwhile they may end.
func TestWhatEndsWhileItIsAdopted(t *testing.T) {
	r := newRig(t)
	var all []engine.Container
	for range 8 {
		all = append(all, r.start(forever))
	}
	r.Shut()
	killed := make(chan error)
	go func() {
		var errs []error
		for _, c := range slices.Backward(all) {
			errs = append(errs, unix.Kill(c.PID, unix.SIGKILL))
			waitGone(t, c.PID)
		}
		killed <- errors.Join(errs...)
	}()
	r.Open()
	if err := <-killed; err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, c := range all {
		c, err := r.Wait(ctx, c.ID)
		if err != nil || c.State != engine.Exited || c.Signal != int(unix.SIGKILL) {
			t.Errorf("container %s is %s, by signal %d: %v", c.Name, c.State, c.Signal, err)
		}
	}
}

func waitGone(t *testing.T, pid int) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if unix.Kill(pid, 0) != nil {
			return
		}
	}
	t.Fatalf("process %d does not end", pid)
}

func TestMistakesAreNamedAndLeaveNothing(t *testing.T) {
	r := newRig(t)
	first := r.start(forever, func(s *engine.ContainerSpec) {
		s.Name = "first"
		s.Ports = []naru.PublishedPort{{HostPort: 18473, Port: 80, Protocol: "tcp"}}
	})
	cases := []struct {
		name string
		spec engine.ContainerSpec
		code naru.Code
		says string
	}{
		{"an image that is not there", engine.ContainerSpec{Image: "nope"}, naru.NotFound, "nope"},
		{"a name that is taken", engine.ContainerSpec{Image: "busybox", Name: "first"}, naru.Conflict, first.ShortID()},
		{"a name that is none", engine.ContainerSpec{Image: "busybox", Name: "a b"}, naru.InvalidArgument, "a b"},
		{"a relative mount", engine.ContainerSpec{Image: "busybox", Mounts: []engine.Mount{{Volume: "v", Target: "data"}}}, naru.InvalidArgument, "data"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := r.Create(t.Context(), c.spec)
			if naru.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("%v (%s)", err, naru.CodeOf(err))
			}
		})
	}
	second, err := r.Create(t.Context(), engine.ContainerSpec{Image: "busybox", Command: []string{"true"}, Ports: first.Spec.Ports})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Start(t.Context(), second.ID); naru.CodeOf(err) != naru.Conflict || !strings.Contains(err.Error(), "first") {
		t.Fatalf("a port that is taken: %v", err)
	}
	missing, err := r.Create(t.Context(), engine.ContainerSpec{Image: "busybox", Command: []string{"/nope"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Start(t.Context(), missing.ID); err == nil || r.get(missing.ID).ExitCode != 127 {
		t.Fatalf("a program that is not there: %v, status %d", err, r.get(missing.ID).ExitCode)
	}
}

func TestAVolumeOutlivesItsContainerAndKeepsPlainOwners(t *testing.T) {
	r := newRig(t)
	on := func(s *engine.ContainerSpec) { s.Mounts = []engine.Mount{{Volume: "keep", Target: "/data"}} }
	r.wait(r.start("echo kept > /data/file", on).ID)
	c := r.start("cat /data/file; stat -c %u /data/file", on)
	if r.wait(c.ID); r.output(c.ID) != "kept\n0\n" {
		t.Fatalf("the next container reads %q", r.output(c.ID))
	}
	st, err := os.Stat(filepath.Join(r.Data, "volumes", "keep", "file"))
	if err != nil {
		t.Fatal(err)
	}
	if uid := st.Sys().(*syscall.Stat_t).Uid; uid != 0 {
		t.Fatalf("on disk it belongs to %d, want the container's own 0", uid)
	}
}

func TestAutoRemoveAndRestart(t *testing.T) {
	r := newRig(t)
	gone := r.start("true", func(s *engine.ContainerSpec) { s.AutoRemove = true })
	if _, err := r.Wait(t.Context(), gone.ID); err != nil && naru.CodeOf(err) != naru.NotFound {
		t.Fatal(err)
	}
	again := r.start("echo run")
	r.wait(again.ID)
	if err := r.Start(t.Context(), again.ID); err != nil {
		t.Fatal(err)
	}
	if r.wait(again.ID); r.output(again.ID) != "run\nrun\n" {
		t.Fatalf("after two runs the log says %q", r.output(again.ID))
	}
}
