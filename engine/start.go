package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"naru/engine/image"
	"naru/engine/keeper"
	"naru/engine/logs"
	"naru/engine/sandbox"
	"naru/engine/sandbox/fork"
	"naru/internal/cleanup"
	"naru/naru"
)

// Start runs the container's process and returns when it has been executed. A container that cannot be started becomes
// exited, with the reason in its Error; its policy does not try again.
func (e *Engine) Start(ctx context.Context, idOrName string) error {
	en, err := e.find(idOrName)
	if err != nil {
		return err
	}
	en.op.Lock()
	defer en.op.Unlock()
	c := e.snapshot(en)
	if c.State == Running {
		return nil
	}
	if e.isGone(en) {
		return naru.Errorf(naru.NotFound, "container %s was removed", c.Name)
	}
	c.Restarts, c.Backoff = 0, 0
	return e.startOnce(ctx, en, c)
}

// startOnce starts a container that does not run. The caller holds en.op.
func (e *Engine) startOnce(ctx context.Context, en *entry, c Container) error {
	if err := e.departed(ctx, c.ID); err != nil {
		return err
	}
	e.mu.Lock()
	en.renew()
	e.mu.Unlock()
	err := e.begin(ctx, en, &c)
	if err == nil {
		err = e.launch(ctx, en, &c)
	}
	if err != nil {
		return e.startFailed(context.WithoutCancel(ctx), en, c, err)
	}
	e.note("start", c)
	return nil
}

// begin writes down that the container starts, and where: before any process or device of it exists.
func (e *Engine) begin(ctx context.Context, en *entry, c *Container) error {
	if err := c.to(Starting); err != nil {
		return err
	}
	c.PID, c.ExitCode, c.Signal, c.Error = 0, 0, 0, ""
	c.OOMKilled, c.Lost, c.Stopped, c.Paused = false, false, false, false
	c.Health = newHealth(c.Spec.Health)
	c.StartedAt, c.FinishedAt, c.RestartAt = time.Time{}, time.Time{}, time.Time{}
	if err := e.assignAddr(ctx, en, c); err != nil {
		return err
	}
	return e.save(ctx, en, *c)
}

// launch makes the sandbox, executes the process, and writes down that it runs.
func (e *Engine) launch(ctx context.Context, en *entry, c *Container) error {
	if err := e.checkPorts(c.ID, c.ports()); err != nil {
		return err
	}
	with, err := e.findShared(*c)
	if err != nil {
		return err
	}
	defer closeAll(with.pidfd)
	if with.hasUsers() {
		c.IDBase = with.with.IDBase
	}
	var from sources
	defer from.close()
	cfg, err := e.sandboxConfig(ctx, *c, with, &from)
	if err != nil {
		return err
	}
	stdin, err := openStdin(c.Spec, &cfg)
	if err != nil {
		return err
	}
	defer closeAll(cfg.Files[0])
	var undo cleanup.Stack
	defer undo.Run()
	undo.Add(func() { closeAll(stdin) })

	// Ports lead there before anybody listens: a rule that cannot be made must fail the start, not a running container.
	if err := e.lead(ctx, *c); err != nil {
		return err
	}
	c.StartedAt = time.Now().UTC() // before its first word, which Attach must not miss
	box, err := sandbox.Start(ctx, cfg, e.spawner(*c))
	if err != nil {
		return err
	}
	undo.Add(func() { closeAll(box.PidFD, box.Console) })
	if err := e.keepTerminal(context.WithoutCancel(ctx), *c, box.Console); err != nil {
		return err // startFailed ends the process
	}
	if err := e.writeRunning(context.WithoutCancel(ctx), en, c, box.PID); err != nil {
		return err // as before
	}
	undo.Release()
	e.keep(context.WithoutCancel(ctx), *c, stdin)
	e.running(en, box, stdin)
	e.tellName(c.ID)
	return nil
}

func (e *Engine) writeRunning(ctx context.Context, en *entry, c *Container, pid int) error {
	c.PID = pid
	if err := c.to(Running); err != nil {
		return err
	}
	return e.save(ctx, en, *c)
}

// running notes what only memory knows of a container that runs, and watches for its exit.
func (e *Engine) running(en *entry, box *sandbox.Sandbox, stdin *os.File) {
	e.mu.Lock()
	defer e.mu.Unlock()
	en.pidfd, en.stdin, en.tty = box.PidFD, stdin, box.Console
	e.watchExit(en)
	e.watchHealth(en)
	e.forward(en)
}

func (e *Engine) sandboxConfig(ctx context.Context, c Container, with shared, from *sources) (sandbox.Config, error) {
	root, err := e.layers(ctx, c)
	if err != nil {
		return sandbox.Config{}, fmt.Errorf("find its root filesystem: %w", err)
	}
	img := root.Image.Config
	in := specInput{c: c, img: img, dir: e.containerDir(c.ID), cgroup: e.cgroup(c.ID), ids: e.idMaps(c)}
	if in.user, err = findUser(root, firstOf(c.Spec.User, img.User, "0:0"), c.Spec.Isolation.Groups); err != nil {
		return sandbox.Config{}, err
	}
	if err := e.findSources(c, root, from); err != nil {
		return sandbox.Config{}, err
	}
	in.sources = from.byTarget
	in.joined = with.namespaces
	if err := os.MkdirAll(e.logDir(c.ID), 0o700); err != nil { // a crash or a power cut may have come after the row
		return sandbox.Config{}, fmt.Errorf("make its folder: %w", err)
	}
	if err := writeEtc(in.dir, c, e.networkOf(c).Gateway); err != nil {
		return sandbox.Config{}, err
	}
	if c.Spec.Isolation.IPC != "" {
		in.hostIPC = hostIPC()
	}
	if in.devices, err = e.findDevices(c); err != nil {
		return sandbox.Config{}, err
	}
	if in.io, err = findIOLimits(c.Spec.IO); err != nil {
		return sandbox.Config{}, err
	}
	spec, err := runtimeSpec(in)
	if err != nil {
		return sandbox.Config{}, err
	}
	cfg := sandbox.Config{ID: c.ID, Spec: spec, Rootfs: sandboxRootfs(root), CgroupPath: in.cgroup, Console: c.Spec.TTY,
		Filters: e.filters,
		Init:    c.Spec.Init, MakeCwd: true}
	cfg.Attach, cfg.Beside = e.attacher(c), with.pidfd
	return cfg, nil
}

func sandboxRootfs(r image.Rootfs) sandbox.Rootfs {
	return sandbox.Rootfs{Lower: r.Lower, Upper: r.Upper, Work: r.Work}
}

// openStdin gives the process a pipe to read from when someone may attach to it.
func openStdin(spec ContainerSpec, cfg *sandbox.Config) (*os.File, error) {
	if !spec.OpenStdin || spec.TTY {
		return nil, nil
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make a pipe for standard input: %w", err)
	}
	cfg.Files[0] = r
	return w, nil
}

// spawner starts the container's process as a child of the keeper, which keeps its output in the container's log.
func (e *Engine) spawner(c Container) sandbox.Spawner {
	return spawnFunc(func(ctx context.Context, _ string, cmd fork.Cmd) (fork.Process, error) {
		return e.cfg.Keeper.Spawn(ctx, c.ID, cmd, keeper.Output{LogDir: e.logDir(c.ID), Limits: logLimits(c)})
	})
}

func logLimits(c Container) logs.Limits {
	return logs.Limits{Size: c.Spec.Logs.FileBytes, Files: c.Spec.Logs.Files}
}

type spawnFunc func(ctx context.Context, id string, cmd fork.Cmd) (fork.Process, error)

func (f spawnFunc) Spawn(ctx context.Context, id string, cmd fork.Cmd) (fork.Process, error) {
	return f(ctx, id, cmd)
}

// startFailed cleans up after a start that failed, writes the reason down, and returns it.
func (e *Engine) startFailed(ctx context.Context, en *entry, c Container, cause error) error {
	cause = fmt.Errorf("start container %s: %w", c.Name, cause)
	return errors.Join(cause, e.settleFailedStart(ctx, en, c, cause, c.Restarts > 0))
}

// settleFailedStart removes what a start left in the kernel and writes the container down as exited, or, with retry,
// as waiting for another start when its policy says so.
func (e *Engine) settleFailedStart(ctx context.Context, en *entry, c Container, cause error, retry bool) error {
	defer e.tell(en)
	err := e.cleanKernel(ctx, c.ID)
	c.State, c.PID, c.Error, c.ExitCode, c.FinishedAt = Exited, 0, cause.Error(), startExitCode(cause), time.Now().UTC()
	if retry {
		c.settle(time.Now())
	}
	saved := e.save(ctx, en, c)
	if saved != nil { // no room: a daemon that finds the row as it is comes to the same
		e.mu.Lock()
		e.follow(en, c)
		e.mu.Unlock()
	}
	err = errors.Join(err, saved, e.forgetChild(ctx, c.ID))
	e.noteExit(c)
	return errors.Join(err, e.removeWhenLeft(ctx, en))
}

// forgetChild lets the keeper forget a process that ended in a start that failed, when it got as far as a process.
func (e *Engine) forgetChild(ctx context.Context, id string) error {
	children, err := e.children(ctx)
	if err != nil {
		return err
	}
	if child, ok := children[id]; ok {
		return e.endChild(ctx, child)
	}
	return nil
}

// startExitCode is what a shell, and docker, would report: 127 for a program that is not there, 126 for one that
// cannot be executed, 125 for a container that could not be made.
func startExitCode(err error) int {
	var exec *sandbox.ExecError
	switch {
	case !errors.As(err, &exec):
		return 125
	case errors.Is(exec, fs.ErrNotExist):
		return 127
	}
	return 126
}

func closeAll(files ...*os.File) {
	for _, f := range files {
		if f != nil {
			_ = f.Close() // an end of a pipe: nothing can be lost
		}
	}
}
