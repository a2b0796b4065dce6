package ociruntime

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"naru/engine/sandbox"
	"naru/internal/cleanup"
	"naru/naru"
)

// CreateOptions are those of create and run.
type CreateOptions struct {
	ID            string
	Bundle        string
	PIDFile       string
	ConsoleSocket string           // gets the terminal's master
	KeepKeyring   bool             // the container's processes get no session keyring of their own
	ListenFDs     int              // so many of Keep, the first, are sockets that the program is told of, as systemd does
	Detach        bool             // nobody stays with a container that is run
	Signals       <-chan os.Signal // are passed on by who stays
	Stdio
}

// Create makes a container whose program waits for Start. When it fails it leaves nothing.
func (r *Runtime) Create(ctx context.Context, o CreateOptions) error {
	o.Detach = true
	_, box, err := r.create(ctx, o, false)
	if err != nil {
		return err
	}
	return box.Close()
}

// create also hands the process back, with its terminal when no ConsoleSocket took it. With run the program does not wait
// for Start, unless there are hooks, which have to run before it does.
func (r *Runtime) create(ctx context.Context, o CreateOptions, run bool) (_ *record, _ *sandbox.Sandbox, err error) {
	init := &sealing{init: r.Init}
	defer init.close()
	if !run { // who waits at a gate takes one
		init.begin()
	}
	bundle, spec, err := readBundle(o.Bundle)
	if err != nil {
		return nil, nil, err
	}
	if err := checkConsole(spec.Process.Terminal, o.Detach, o.ConsoleSocket); err != nil {
		return nil, nil, err
	}
	r.passOver(spec)
	if err := r.grant(spec.Process, spec.Linux); err != nil {
		return nil, nil, err
	}
	inner, err := r.within(spec)
	if err != nil {
		return nil, nil, err
	}
	devices, inner, err := lend(inner)
	if err != nil {
		return nil, nil, err
	}
	defer func() { r.warn(devices.settle(err == nil)) }()
	inner = tellSockets(inner, o.ListenFDs)
	var undo cleanup.Stack
	defer undo.Run()
	c := &record{ID: o.ID, Bundle: bundle, Spec: spec, Annotations: spec.Annotations, Created: time.Now().UTC(), KeepKeyring: o.KeepKeyring}
	c.gated = !run || spec.Hooks != nil
	if c.CgroupPath, err = cgroupPath(o.ID, spec.Linux); err != nil {
		return nil, nil, err
	}
	if c.dir, err = r.makeDir(o.ID); err != nil {
		return nil, nil, err
	}
	undo.Add(func() { r.warn(os.RemoveAll(c.dir)) })
	undo.Add(func() { r.poststop(ctx, c) })
	undo.Add(func() { r.warn(c.unmount()) })
	box, err := c.startInit(ctx, init, inner, devices, o)
	if err != nil {
		return nil, nil, explain(err)
	}
	undo.Add(func() { r.warn(r.destroy(context.WithoutCancel(ctx), c, box)) })
	if err := c.publish(o, box); err != nil {
		return nil, nil, err
	}
	undo.Release()
	return c, box, nil
}

// tellSockets tells the program of sockets that it is given. Others that are executed in the container get none.
func tellSockets(s *specs.Spec, n int) *specs.Spec {
	if n == 0 {
		return s
	}
	told, process := *s, *s.Process
	process.Env = append(process.Env[:len(process.Env):len(process.Env)], "LISTEN_FDS="+strconv.Itoa(n), "LISTEN_PID=1")
	told.Process = &process
	return &told
}

func (c *record) startInit(ctx context.Context, init *sealing, s *specs.Spec, devices *lent, o CreateOptions) (*sandbox.Sandbox, error) {
	cfg := sandbox.Config{
		ID: c.ID, Spec: s, Rootfs: sandbox.Rootfs{Path: c.Spec.Root.Path, Owned: true},
		CgroupPath: c.CgroupPath, Files: o.Files, MakeCwd: true,
		OCI: sandbox.OCI{Born: c.born, Keep: o.Keep, HookState: c.hookState, NotifyState: c.notifyState, KeepKeyring: c.KeepKeyring},
	}
	if c.gated {
		gate, err := c.listen()
		if err != nil {
			return nil, err
		}
		defer gate.Close()
		cfg.OCI.Gate, cfg.OCI.Born = gate, nil
	}
	if hooks := firstHooks(c.Spec.Hooks); len(hooks)+len(devices.devices) > 0 {
		cfg.OCI.BeforePivot = func(ctx context.Context, pid int) error {
			c.PID = pid
			if err := devices.move(pid); err != nil {
				return err
			}
			return c.run(ctx, specs.StateCreating, hooks)
		}
	}
	return sandbox.Start(ctx, cfg, init)
}

// publish makes the container known: its terminal and its pid to those who asked, and its state to everybody, last, unless
// that has been done.
func (c *record) publish(o CreateOptions, box *sandbox.Sandbox) error {
	if err := sendConsole(o.ConsoleSocket, box); err != nil {
		return err
	}
	if err := writePID(o.PIDFile, box.PID); err != nil || c.StartTicks != 0 {
		return err
	}
	return c.born(box.PID)
}

// born writes down which process is the container's first.
func (c *record) born(pid int) error {
	var alive bool
	c.PID = pid
	if c.StartTicks, alive = startTicks(pid); !alive {
		return naru.Errorf(naru.Failed, "the container's init ended while the container was created")
	}
	return c.save()
}

func writePID(path string, pid int) error {
	if path == "" {
		return nil
	}
	return writeFile(path, strconv.AppendInt(nil, int64(pid), 10), 0o644)
}

// destroy ends a container that nobody got to know.
func (r *Runtime) destroy(ctx context.Context, c *record, box *sandbox.Sandbox) error {
	return errors.Join(kill(box), sandbox.RemoveCgroup(ctx, c.CgroupPath), box.Close())
}

// Start runs the program of a created container.
func (r *Runtime) Start(ctx context.Context, id string) error {
	c, err := r.load(id)
	if err != nil {
		return err
	}
	status, err := c.status()
	if err != nil {
		return err
	}
	if status != specs.StateCreated {
		return naru.Errorf(naru.FailedPrecondition, "cannot start a container in the %s state", status)
	}
	return r.start(ctx, c)
}

// start lets a container go on. When a hook fails the container is ended and undone, as the specification has it.
func (r *Runtime) start(ctx context.Context, c *record) error {
	conn, err := c.passGate()
	if err != nil {
		return err
	}
	defer conn.Close()
	hooks := c.Spec.Hooks
	err = sandbox.Release(ctx, conn)
	switch {
	case hooks == nil:
		return explain(err)
	case err == nil:
		err = c.run(ctx, specs.StateRunning, hooks.Poststart)
	case len(hooks.StartContainer) == 0:
		return explain(err)
	}
	if err == nil {
		return nil
	}
	return errors.Join(explain(err), r.Delete(context.WithoutCancel(ctx), c.ID, true))
}

// explain says what people know from runc, and programs look for in its words, when a program cannot be executed.
func explain(err error) error {
	var exec *sandbox.ExecError
	if !errors.As(err, &exec) {
		return err
	}
	return &naru.Error{Code: naru.Failed, Err: fmt.Errorf("unable to start container process: %w", execWords{exec})}
}

// execWords is an ExecError in the words of Go's os/exec, as runc says it.
type execWords struct{ *sandbox.ExecError }

func (e execWords) Error() string {
	if e.ExitCode() == 127 && !strings.Contains(e.Name, "/") {
		return fmt.Sprintf("exec: %q: executable file not found in $PATH", e.Name)
	}
	return fmt.Sprintf("exec: %q: %s", e.Name, e.Err)
}

func (e execWords) Unwrap() error { return e.ExecError }
