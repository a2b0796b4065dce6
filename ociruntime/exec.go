package ociruntime

import (
	"context"
	"os"
	"strconv"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"naru/engine/sandbox"
	"naru/naru"
)

// ExecOptions are those of exec.
type ExecOptions struct {
	ID            string
	Process       func(container *specs.Process) (*specs.Process, error) // made from the container's own
	PIDFile       string
	ConsoleSocket string
	Detach        bool
	IgnorePaused  bool
	Signals       <-chan os.Signal // are passed on unless detached
	Stdio
}

// Exec runs one more process in a container, and unless detached stays until it ends and returns its exit status.
func (r *Runtime) Exec(ctx context.Context, o ExecOptions) (status int, err error) {
	want := []specs.ContainerState{specs.StateRunning, specs.StateCreated}
	if o.IgnorePaused {
		want = append(want, statePaused)
	}
	c, err := r.loadIn(o.ID, want...)
	if err != nil {
		return 0, err
	}
	own := *c.Spec.Process
	p, err := o.Process(&own)
	if err != nil {
		return 0, err
	}
	if err := checkConsole(p.Terminal, o.Detach, o.ConsoleSocket); err != nil {
		return 0, err
	}
	if err := r.grant(p, c.Spec.Linux); err != nil {
		return 0, err
	}
	box, err := r.enter(ctx, c, p, o)
	if err != nil {
		return 0, explain(err)
	}
	defer func() { r.warn(box.Close()) }()
	if err := sendConsole(o.ConsoleSocket, box); err != nil {
		return 0, err
	}
	if err := writePID(o.PIDFile, box.PID); err != nil || o.Detach {
		return 0, err
	}
	return accompany(ctx, box, o.Files, o.Signals)
}

func (r *Runtime) enter(ctx context.Context, c *record, p *specs.Process, o ExecOptions) (*sandbox.Sandbox, error) {
	init := &sealing{init: r.Init}
	defer init.close()
	init.begin()
	pidfd, err := c.pidfd()
	if err != nil {
		return nil, errNotRunning()
	}
	defer pidfd.Close()
	cfg := sandbox.ExecConfig{
		ID: c.ID + "/exec", PID: c.PID, PidFD: pidfd, Process: p, Linux: c.Spec.Linux, CgroupPath: c.CgroupPath,
		Files: o.Files, Keep: o.Keep, NotifyState: c.notifyState, KeepKeyring: c.KeepKeyring,
	}
	return sandbox.Exec(ctx, cfg, init)
}

// Run is create and start at once. Unless detached it stays until the program ends, deletes the container when keep
// does not hold it, and returns the exit status.
func (r *Runtime) Run(ctx context.Context, o CreateOptions, keep bool) (status int, err error) {
	c, box, err := r.create(ctx, o, true)
	if err != nil {
		return 0, err
	}
	defer func() { r.warn(box.Close()) }()
	if c.gated {
		err = r.start(ctx, c)
	}
	if err != nil {
		r.warn(kill(box))
		r.warn(r.Delete(context.WithoutCancel(ctx), o.ID, true))
		return 0, err
	}
	if o.Detach {
		return 0, nil
	}
	status, err = accompany(ctx, box, o.Files, o.Signals)
	if err == nil && !keep {
		err = r.remove(context.WithoutCancel(ctx), c)
	}
	return status, err
}

// accompany passes signals on to a process until it ends, and joins its terminal with ours.
func accompany(ctx context.Context, box *sandbox.Sandbox, files [3]*os.File, signals <-chan os.Signal) (status int, err error) {
	session, err := openConsole(box.Console, files)
	if err != nil {
		return 0, err
	}
	ended := make(chan sandbox.Exit, 1)
	failed := make(chan error, 1)
	go func() {
		exit, err := new(sandbox.Local).Wait(ctx, box)
		failed <- err
		ended <- exit
	}()
	for {
		select {
		case s := <-signals:
			passOn(s, box, session)
		case err := <-failed:
			exit := <-ended
			session.end()
			return exit.Code, err
		}
	}
}

// PassedOn are the signals that somebody sends on purpose. Asking for all would wake threads 500 times: the Go runtime has
// a thread of its own take each of them up.
func PassedOn() []os.Signal {
	return []os.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2, unix.SIGALRM, unix.SIGTERM,
		unix.SIGCONT, unix.SIGTSTP, unix.SIGWINCH}
}

func passOn(s os.Signal, box *sandbox.Sandbox, session *consoleSession) {
	if s == unix.SIGWINCH {
		session.resize()
		return
	}
	_ = sandbox.Kill(box, s.(unix.Signal)) // it has ended: its status comes next
}

// PreservedFiles are the caller's descriptors from 3 on.
func PreservedFiles(n int) ([]*os.File, error) {
	var files []*os.File
	for fd := 3; fd < 3+n; fd++ {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil {
			return nil, naru.Errorf(naru.InvalidArgument, "descriptor %d is to be preserved, but is not open: %w", fd, err)
		}
		files = append(files, os.NewFile(uintptr(fd), "preserved "+strconv.Itoa(fd)))
	}
	return files, nil
}

func checkConsole(terminal, detach bool, socket string) error {
	switch {
	case terminal && detach && socket == "":
		return naru.Errorf(naru.InvalidArgument, "a terminal of a detached process needs a console socket (--console-socket)")
	case !terminal && socket != "":
		return naru.Errorf(naru.InvalidArgument, "a console socket (--console-socket) is of no use without a terminal")
	}
	return nil
}
