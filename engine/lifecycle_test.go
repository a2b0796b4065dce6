package engine_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"naru/engine"
	"naru/engine/logs"
	"naru/naru"
)

func restart(name engine.RestartName, retries int) func(*engine.ContainerSpec) {
	return func(s *engine.ContainerSpec) { s.Restart = engine.RestartPolicy{Name: name, MaxRetries: retries} }
}

// until waits for a container to become as wanted.
func (r *rig) until(id, what string, ok func(engine.Container) bool) engine.Container {
	r.t.Helper()
	changed, stop := r.Watch("")
	defer stop()
	timeout := time.After(20 * time.Second)
	for {
		c := r.get(id)
		if ok(c) {
			return c
		}
		select {
		case <-changed:
		case <-timeout:
			r.t.Fatalf("it never was %s: %+v", what, c)
		}
	}
}

func TestAWatchHearsOfItsOwnContainersOnly(t *testing.T) {
	r := newRig(t)
	mine, stop := r.Watch("mine")
	defer stop()
	others := r.start("true")
	r.wait(others.ID)
	if err := r.Remove(t.Context(), others.ID, false); err != nil {
		t.Fatal(err)
	}
	select {
	case <-mine:
		t.Error("a hint for a container without the label")
	default:
	}
	r.start("true", func(s *engine.ContainerSpec) { s.Labels = map[string]string{"mine": ""} })
	select {
	case <-mine:
	default:
		t.Error("no hint for a container with the label")
	}
}

func TestOnFailureTriesAsOftenAsItWasTold(t *testing.T) {
	r := newRig(t)
	c := r.start("echo run; exit 3", restart(engine.OnFailure, 2))
	if c = r.wait(c.ID); c.State != engine.Exited || c.Restarts != 2 || c.ExitCode != 3 {
		t.Fatalf("%+v", c)
	}
	if out := r.output(c.ID); out != "run\nrun\nrun\n" {
		t.Fatalf("it said %q", out)
	}
}

func TestAlwaysStartsAgainUntilItIsStopped(t *testing.T) {
	r := newRig(t)
	c := r.start(forever, restart(engine.Always, 0))
	first := c.PID
	if err := unix.Kill(first, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	c = r.until(c.ID, "running again", func(c engine.Container) bool { return c.State == engine.Running && c.Restarts == 1 })
	if c.PID == first {
		t.Fatal("it has the same process")
	}
	if err := r.Stop(t.Context(), c.ID, -1); err != nil {
		t.Fatal(err)
	}
	if c = r.get(c.ID); c.State != engine.Exited || !c.Stopped || !strings.Contains(c.Reason(), "stopped") {
		t.Fatalf("%+v: %s", c, c.Reason())
	}
	fails := r.start("exit 1", restart(engine.Always, 0))
	r.until(fails.ID, "waiting", func(c engine.Container) bool { return c.State == engine.Restarting && c.Restarts > 1 })
	if err := r.Stop(t.Context(), fails.ID, 0); err != nil {
		t.Fatal(err)
	}
	r.wait(fails.ID)
}

func TestPoliciesSurviveTheDaemon(t *testing.T) {
	r := newRig(t)
	always := r.start(forever, restart(engine.Always, 0))
	unless := r.start(forever, restart(engine.UnlessStopped, 0))
	dies := r.start(forever, restart(engine.UnlessStopped, 0))
	once := r.start(forever)
	for _, c := range []engine.Container{always, unless} {
		if err := r.Stop(t.Context(), c.ID, -1); err != nil {
			t.Fatal(err)
		}
	}
	r.Shut()
	for _, pid := range []int{dies.PID, once.PID} {
		if err := unix.Kill(pid, unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
		waitGone(t, pid)
	}
	r.Open()
	running := func(c engine.Container) bool { return c.State == engine.Running }
	r.until(always.ID, "running: always means after a stop too", running)
	r.until(dies.ID, "running: nobody stopped it", running)
	if c := r.get(unless.ID); c.State != engine.Exited {
		t.Errorf("stopped, and %s", c.State)
	}
	if c := r.get(once.ID); c.State != engine.Exited || c.ExitCode != 137 || c.Reason() != "killed by SIGKILL" {
		t.Errorf("%s, status %d, %s", c.State, c.ExitCode, c.Reason())
	}
}

func TestRemovalOnExitWaitsForWhoReads(t *testing.T) {
	r := newRig(t)
	c, err := r.Create(t.Context(), engine.ContainerSpec{Image: "busybox", AutoRemove: true,
		Command: []string{"/bin/sh", "-c", "i=0; while [ $i -lt 2000 ]; do echo a line of some length $i; i=$((i+1)); done; exit 4"}})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	ended, err := r.RunAttached(t.Context(), c.ID, engine.Streams{Stdout: slow{&out}})
	if err != nil || ended.ExitCode != 4 || strings.Count(out.String(), "\n") != 2000 {
		t.Fatalf("%v, status %d, %d lines", err, ended.ExitCode, strings.Count(out.String(), "\n"))
	}
	if _, err := r.Get(t.Context(), c.ID); naru.CodeOf(err) != naru.NotFound {
		t.Fatalf("it is still there: %v", err)
	}
}

// slow lets a container end long before its output is read.
type slow struct{ to io.Writer }

func (s slow) Write(p []byte) (int, error) {
	time.Sleep(50 * time.Microsecond)
	return s.to.Write(p)
}

func TestAReaderThatLeavesLetsTheRemovalGo(t *testing.T) {
	r := newRig(t)
	c, err := r.Create(t.Context(), engine.ContainerSpec{Image: "busybox", AutoRemove: true, Command: []string{"/bin/sh", "-c", forever}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, leave := context.WithCancel(t.Context())
	var seen sync.Once
	_, err = r.RunAttached(ctx, c.ID, engine.Streams{Stdout: writerFunc(func(p []byte) (int, error) {
		seen.Do(leave)
		return len(p), nil
	})})
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if c := r.get(c.ID); c.State != engine.Running {
		t.Fatalf("the reader left, and it is %s", c.State)
	}
	if err := r.Stop(t.Context(), c.ID, -1); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Get(t.Context(), c.ID); naru.CodeOf(err) != naru.NotFound {
		t.Fatalf("it is still there: %v", err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestATerminalAndAnInputOutliveTheDaemon(t *testing.T) {
	r := newRig(t)
	tty := r.start("echo ready; read line; echo got $line; tty", func(s *engine.ContainerSpec) { s.TTY = true })
	pipe := r.start("echo ready; read line; echo got $line", func(s *engine.ContainerSpec) { s.OpenStdin = true })
	r.waitOutput(tty.ID, "ready")
	r.waitOutput(pipe.ID, "ready")
	r.Shut()
	r.Open()
	for _, c := range []engine.Container{tty, pipe} {
		if c = r.get(c.ID); c.State != engine.Running {
			t.Fatalf("after the daemon's death it is %s: %s", c.State, r.output(c.ID))
		}
		ended, err := r.AttachNow(t.Context(), c.ID, engine.Streams{Stdin: strings.NewReader("typed later\n"), Stdout: io.Discard})
		if err != nil || ended.ExitCode != 0 {
			t.Fatalf("%v, status %d", err, ended.ExitCode)
		}
		if out := r.output(c.ID); !strings.Contains(out, "got typed later") {
			t.Fatalf("it said %q", out)
		}
	}
}

// TestExecOnATerminalThatIsResized: a size is taken before what is typed after it is read.
func TestExecOnATerminalThatIsResized(t *testing.T) {
	r := newRig(t)
	c := r.start(forever)
	typed, keyboard := io.Pipe()
	sizes := make(chan engine.Size)
	var typing sync.WaitGroup
	typing.Go(func() {
		for range 2 { // when the second is taken, the first has reached the terminal
			select {
			case sizes <- engine.Size{Rows: 33, Columns: 101}:
			case <-time.After(patience):
				return
			}
		}
		_, _ = keyboard.Write([]byte("go\n"))
	})
	var screen bytes.Buffer
	code, err := r.Exec(t.Context(), c.ID, engine.ExecSpec{Command: []string{"/bin/sh", "-c", "read line; stty size; tty; echo $TERM; exit 4"}, TTY: true},
		engine.Streams{Stdin: typed, Stdout: &screen, Resize: sizes})
	typing.Wait()
	if err != nil || code != 4 || !strings.Contains(screen.String(), "33 101\r\n/dev/pts/") || !strings.Contains(screen.String(), "xterm") {
		t.Fatalf("status %d, %v, on the screen %q", code, err, screen.String())
	}
	if err := r.Pause(t.Context(), c.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Exec(t.Context(), c.ID, engine.ExecSpec{Command: []string{"true"}}, engine.Streams{}); naru.CodeOf(err) != naru.FailedPrecondition {
		t.Fatalf("exec in what is paused: %v", err)
	}
}

// TestWhatNeverRanIsNotWaitedFor: as docker wait, before a restart of the daemon and after it.
func TestWhatNeverRanIsNotWaitedFor(t *testing.T) {
	r := newRig(t)
	c, err := r.Create(t.Context(), engine.ContainerSpec{Image: "busybox", Command: []string{"true"}})
	if err != nil {
		t.Fatal(err)
	}
	soon := func(when string) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		if c, err := r.Wait(ctx, c.ID); err != nil || c.State != engine.Created || c.ExitCode != 0 {
			t.Errorf("%s: %s, %v", when, c.State, err)
		}
		for _, err := range r.Logs(ctx, c.ID, logs.Options{Follow: true}) {
			t.Errorf("%s, its log: %v", when, err)
		}
	}
	soon("created")
	r.Shut()
	r.Open()
	soon("after a restart of the daemon")
	if err := r.Start(t.Context(), c.ID); err != nil {
		t.Fatal(err)
	}
	if c := r.wait(c.ID); c.State != engine.Exited {
		t.Errorf("it has run, and is %s", c.State)
	}
}

// TestAttachHearsTheAnswerToItsInput, however soon that comes.
func TestAttachHearsTheAnswerToItsInput(t *testing.T) {
	r := newRig(t)
	for range 20 {
		c := r.start("read line; echo got $line", func(s *engine.ContainerSpec) { s.OpenStdin = true })
		var out bytes.Buffer
		ended, err := r.AttachNow(t.Context(), c.ID, engine.Streams{Stdin: strings.NewReader("this\n"), Stdout: &out})
		if err != nil || ended.State != engine.Exited || out.String() != "got this\n" {
			t.Errorf("%v, it is %s and said %q", err, ended.State, out.String())
		}
	}
}

// TestADetachedExecOutlivesTheDaemon, and ends by itself or with its container; the rig looks at what is left.
func TestADetachedExecOutlivesTheDaemon(t *testing.T) {
	r := newRig(t)
	c := r.start("mkfifo /in; " + forever)
	r.waitExec(c.ID, "test -p /in")
	detached := func(script string) {
		if err := r.ExecDetached(t.Context(), c.ID, engine.ExecSpec{Command: []string{"sh", "-c", script}}); err != nil {
			t.Fatal(err)
		}
	}
	detached("read word </in; echo $word >/out")
	r.Shut()
	r.Open()
	r.waitExec(c.ID, "echo boat >/in")
	r.waitExec(c.ID, "grep boat /out")
	detached(forever)
	err := r.ExecDetached(t.Context(), c.ID, engine.ExecSpec{Command: []string{"true"}, TTY: true})
	if naru.CodeOf(err) != naru.InvalidArgument {
		t.Errorf("with a terminal: %v", err)
	}
	if err := r.Remove(t.Context(), c.ID, true); err != nil {
		t.Fatal(err)
	}
}

// waitExec runs a script in a container until it succeeds.
func (r *rig) waitExec(id, script string) {
	r.t.Helper()
	for {
		code, err := r.Exec(r.t.Context(), id, engine.ExecSpec{Command: []string{"sh", "-c", script}}, engine.Streams{})
		if err != nil {
			r.t.Fatal(err)
		}
		if code == 0 {
			return
		}
	}
}

// TestWhatIsGivenUpLeavesNothing gives execs and starts up at many instants; the rig looks at what is left.
func TestWhatIsGivenUpLeavesNothing(t *testing.T) {
	r := newRig(t)
	c := r.start(forever)
	for i := range 30 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*300*time.Microsecond)
		_, err := r.Exec(ctx, c.ID, engine.ExecSpec{Command: []string{"true"}}, engine.Streams{})
		if err != nil && ctx.Err() == nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		cancel()
		other, err := r.Create(t.Context(), engine.ContainerSpec{Image: "busybox", Command: []string{"sleep", "1000"}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel = context.WithTimeout(t.Context(), time.Duration(i)*500*time.Microsecond)
		if err := r.Start(ctx, other.ID); err != nil && ctx.Err() == nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		cancel()
		if err := r.Start(t.Context(), other.ID); err != nil { // at once again
			t.Error(err)
		}
		if err := r.Remove(t.Context(), other.ID, true); err != nil {
			t.Fatal(err)
		}
	}
}

func TestPauseRenameUpdateAndUse(t *testing.T) {
	r := newRig(t)
	c := r.start("i=0; while :; do i=$((i+1)); echo $i; sleep 0.01; done")
	r.waitOutput(c.ID, "1")
	if err := r.Pause(t.Context(), c.ID); err != nil {
		t.Fatal(err)
	}
	if err := r.Pause(t.Context(), c.ID); naru.CodeOf(err) != naru.FailedPrecondition {
		t.Fatalf("paused twice: %v", err)
	}
	if before, after := r.size(c.ID), r.size(c.ID); before != after || !r.get(c.ID).Paused {
		t.Fatal("paused, and it talks")
	}
	if err := r.Unpause(t.Context(), c.ID); err != nil {
		t.Fatal(err)
	}
	if err := r.Rename(t.Context(), c.ID, "other"); err != nil {
		t.Fatal(err)
	}
	if got := r.get("other"); got.ID != c.ID {
		t.Fatalf("%+v", got)
	}
	memory := int64(64 << 20)
	if err := r.Update(t.Context(), "other", engine.Change{Limits: naru.Limits{MemoryBytes: memory}}); err != nil {
		t.Fatal(err)
	}
	use, err := r.Usage(t.Context(), "other")
	if err != nil || use.MemoryLimitBytes != uint64(memory) || use.PIDs == 0 || use.CPU == 0 || use.MemoryBytes == 0 {
		t.Fatalf("%v %+v", err, use)
	}
	top, err := r.Top(t.Context(), "other")
	if err != nil || len(top) == 0 || top[0].Inside != 1 || top[0].User != 0 || !strings.Contains(top[0].Command, "/bin/sh") {
		t.Fatalf("%v %+v", err, top)
	}
	if err := r.Pause(t.Context(), "other"); err != nil {
		t.Fatal(err)
	}
	if err := r.Stop(t.Context(), "other", 50*time.Millisecond); err != nil {
		t.Fatal(err)
	}
}

// size is how much a container has said so far, asked twice with a moment for more in between.
func (r *rig) size(id string) int {
	r.t.Helper()
	n := 0
	for entry, err := range r.Logs(r.t.Context(), id, logs.Options{}) {
		if err != nil {
			r.t.Fatal(err)
		}
		n += len(entry.Data)
	}
	return n
}

func TestAnEndByMemoryIsToldFromOthers(t *testing.T) {
	r := newRig(t)
	c := r.start("dd if=/dev/zero of=/dev/null bs=200M count=1", func(s *engine.ContainerSpec) { s.Limits.MemoryBytes = 24 << 20 })
	if c = r.wait(c.ID); !c.OOMKilled || c.Reason() != "out of memory" {
		t.Fatalf("%+v: %s", c, c.Reason())
	}
}

func TestEventsTellWhatHappens(t *testing.T) {
	r := newRig(t)
	since := time.Now()
	c := r.start("exit 2")
	r.wait(c.ID)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var actions []string
	err := r.Events(ctx, since, func(ev engine.Event) error {
		actions = append(actions, ev.Action)
		if ev.Action == "die" {
			if ev.Attributes["exit_code"] != "2" {
				t.Errorf("%+v", ev)
			}
			return errStop
		}
		return nil
	})
	if !errors.Is(err, errStop) || strings.Join(actions, " ") != "create start die" {
		t.Fatalf("%v %v", err, actions)
	}
}

var errStop = errors.New("enough")

func TestARestartIsNotTheExitToBeRemovedOn(t *testing.T) {
	r := newRig(t)
	c := r.start(forever, func(s *engine.ContainerSpec) { s.AutoRemove = true })
	if err := r.Restart(t.Context(), c.ID, -1); err != nil {
		t.Fatal(err)
	}
	if again := r.get(c.ID); again.State != engine.Running || again.PID == c.PID {
		t.Fatalf("%+v", again)
	}
	if err := r.Stop(t.Context(), c.ID, -1); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Get(t.Context(), c.ID); naru.CodeOf(err) != naru.NotFound {
		t.Fatalf("it is still there: %v", err)
	}
}

// TestWhatComesBeforeTheNetworksWaitsForThem: commands and restarts reach an engine that is only about to run.
func TestWhatComesBeforeTheNetworksWaitsForThem(t *testing.T) {
	r := newRig(t)
	stays := r.start(forever)
	r.Shut()
	run := r.OpenIdle()
	var waiting sync.WaitGroup
	defer waiting.Wait()
	defer run()
	begins := func(what string, f func(context.Context) error) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		waiting.Go(func() {
			defer cancel()
			if err := f(ctx); err != nil {
				t.Errorf("%s: %v", what, err)
			}
		})
	}
	for _, c := range []engine.ContainerSpec{{Name: "plain"}, {Name: "ports", Ports: []naru.PublishedPort{{Port: 80, Protocol: "tcp"}}}} {
		c.Image, c.Command = "busybox", []string{"sleep", "1000"}
		if _, err := r.Create(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		begins("start "+c.Name, func(ctx context.Context) error { return r.Start(ctx, c.Name) })
	}
	n, err := r.CreateNetwork(t.Context(), engine.NetworkRequest{Name: "more"})
	if err != nil {
		t.Fatal(err)
	}
	begins("connect", func(ctx context.Context) error { return r.ConnectNetwork(ctx, stays.ID, engine.Join{Network: n.Name}) })
	for _, name := range []string{"plain", "ports"} {
		r.until(name, "starting", func(c engine.Container) bool { return c.State != engine.Created })
	}
	gone, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	c, err := r.Create(t.Context(), engine.ContainerSpec{Image: "busybox", Command: []string{"true"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Start(gone, c.ID); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("who does not wait: %v", err)
	}
}
