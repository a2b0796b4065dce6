package engine

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"strconv"
	"strings"
	"sync"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"naru/engine/keeper"
	"naru/engine/sandbox"
	"naru/engine/sandbox/fork"
	"naru/naru"
)

// execMark stands between a container's id and a number in the id of an exec's process.
const execMark = ".exec-"

// ExecSpec is a further process for a running container. Empty fields are taken from the container.
type ExecSpec struct {
	Command    []string
	Env        []string
	User       string
	WorkingDir string
	TTY        bool
}

// Exec runs a process in the container's namespaces, connected to the streams, and returns its exit status. The process
// ends with the caller: when ctx ends it is killed.
func (e *Engine) Exec(ctx context.Context, idOrName string, x ExecSpec, s Streams) (int, error) {
	plumbing, err := newPlumbing(s, x.TTY)
	if err != nil {
		return 0, err
	}
	defer plumbing.close()
	id, box, err := e.startExec(ctx, idOrName, x, plumbing.theirs, strconv.FormatInt(e.execs.Add(1), 10))
	if err != nil {
		return 0, err
	}
	defer closeAll(box.PidFD)
	plumbing.connect(ctx, s, box.Console)
	return e.finishExec(ctx, id, box, plumbing)
}

// detachedMark begins the number of an exec that belongs to no caller.
const detachedMark = "d"

// ExecDetached starts a process in the container's namespaces that nobody is connected to: it ends by itself or with the
// container, whatever becomes of the caller and of the daemon.
func (e *Engine) ExecDetached(ctx context.Context, idOrName string, x ExecSpec) error {
	if x.TTY {
		return naru.Errorf(naru.InvalidArgument, "nobody is at the terminal of a process that is detached: leave out one of the two")
	}
	var number [8]byte // among those of the daemons before, too
	if _, err := rand.Read(number[:]); err != nil {
		return fmt.Errorf("make an id: %w", err)
	}
	id, box, err := e.startExec(ctx, idOrName, x, [3]*os.File{}, detachedMark+hex.EncodeToString(number[:]))
	if err != nil {
		return err
	}
	closeAll(box.PidFD)
	e.watchDetached(id)
	return nil
}

// watchDetached lets the keeper forget a detached exec when it has ended.
func (e *Engine) watchDetached(id string) {
	e.waiting.Go(func() {
		_, err := e.cfg.Keeper.Wait(e.life, id)
		if e.life.Err() != nil {
			return // the next daemon does
		}
		if err == nil {
			err = e.cfg.Keeper.Forget(context.WithoutCancel(e.life), id)
		}
		e.logFailure("forget a detached exec", err)
	})
}

// runsDetached says whether a keeper's process is a detached exec of a container that runs.
func (e *Engine) runsDetached(id string) bool {
	owner, number, _ := strings.Cut(id, execMark)
	_, _, err := e.runningEntry(owner)
	return err == nil && strings.HasPrefix(number, detachedMark)
}

// startExec starts a process in the container's namespaces, as the keeper's child with an id that number is the last of.
func (e *Engine) startExec(ctx context.Context, idOrName string, x ExecSpec, files [3]*os.File, number string) (id string, _ *sandbox.Sandbox, err error) {
	en, c, err := e.runningEntry(idOrName)
	if err != nil {
		return "", nil, err
	}
	if c.Paused {
		return "", nil, naru.Errorf(naru.FailedPrecondition, "container %s is paused: unpause it first", c.Name)
	}
	spec, err := e.execSpec(ctx, c, x)
	if err != nil {
		return "", nil, err
	}
	pidfd, err := e.pidfd(en)
	if err != nil {
		return "", nil, err
	}
	defer closeAll(pidfd)
	id = c.ID + execMark + number
	box, err := sandbox.Exec(ctx, sandbox.ExecConfig{
		Filters: e.filters,
		ID:      id, PID: c.PID, PidFD: pidfd, Process: spec.Process, Linux: spec.Linux,
		CgroupPath: e.cgroup(c.ID), Files: files, Console: x.TTY,
	}, spawnFunc(func(ctx context.Context, _ string, cmd fork.Cmd) (fork.Process, error) {
		return e.cfg.Keeper.Spawn(ctx, id, cmd, keeper.Output{})
	}))
	if err != nil {
		return "", nil, errors.Join(fmt.Errorf("exec in container %s: %w", c.Name, err), e.forgetChild(context.WithoutCancel(ctx), id))
	}
	return id, box, nil
}

// pidfd is that of the container's process 1, as the caller's.
func (e *Engine) pidfd(en *entry) (*os.File, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if en.pidfd == nil {
		return nil, naru.Errorf(naru.FailedPrecondition, "container %s has just ended", en.c.Name)
	}
	fd, err := en.dupPidFD()
	if err != nil {
		return nil, fmt.Errorf("exec in container %s: %w", en.c.Name, err)
	}
	return fd, nil
}

// finishExec waits for the process, kills it when the caller leaves first, and waits until its output has been handed on.
func (e *Engine) finishExec(caller context.Context, id string, box *sandbox.Sandbox, p *plumbing) (int, error) {
	exit, err := e.cfg.Keeper.Wait(caller, id)
	ctx := context.WithoutCancel(caller)
	if err != nil {
		kill := killGroup(box.PidFD)
		_, werr := e.cfg.Keeper.Wait(ctx, id)
		return 0, errors.Join(err, kill, werr, e.cfg.Keeper.Forget(ctx, id))
	}
	p.drain(caller)
	e.waiting.Go(func() { e.logFailure("forget a process that ended", e.cfg.Keeper.Forget(ctx, id)) }) // nobody else has its id
	return exit.Code, nil
}

// killGroup kills an exec's process, which leads a session, with what it started there and waits for.
func killGroup(pidfd *os.File) error {
	err := unix.PidfdSendSignal(int(pidfd.Fd()), unix.SIGKILL, nil, unix.PIDFD_SIGNAL_PROCESS_GROUP)
	if errors.Is(err, unix.EINVAL) { // the kernel is older than 6.9: what it started is left to the container
		err = unix.PidfdSendSignal(int(pidfd.Fd()), unix.SIGKILL, nil, 0)
	}
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	return err
}

// execSpec is a spec with the process that x asks for, confined as the container's own.
func (e *Engine) execSpec(ctx context.Context, c Container, x ExecSpec) (*specs.Spec, error) {
	root, err := e.cfg.Images.Prepare(ctx, c.ID, c.Image)
	if err != nil {
		return nil, fmt.Errorf("find the root filesystem of %s: %w", c.Name, err)
	}
	img := root.Image.Config
	user, err := findUser(root, firstOf(x.User, c.Spec.User, img.User, "0:0"), c.Spec.Isolation.Groups)
	if err != nil {
		return nil, err
	}
	env := mergeEnv(processEnv(c, img), x.Env)
	if x.TTY {
		env = mergeEnv([]string{"TERM=xterm"}, env)
	}
	caps, err := capabilities(c.Spec.Isolation)
	if err != nil {
		return nil, err
	}
	ids := e.idMaps(c)
	s, err := sandbox.DefaultSpec(sandbox.Defaults{
		Args: x.Command, Env: env, Cwd: firstOf(x.WorkingDir, c.Spec.WorkingDir, img.WorkingDir, "/"),
		User: user, Terminal: x.TTY, UIDMap: ids.uids, GIDMap: ids.gids, Capabilities: caps, Seccomp: c.Spec.Isolation.Seccomp,
	})
	if err == nil {
		confine(s.Process, c.Spec.Isolation)
	}
	return s, err
}

// plumbing is the pipes between a caller's streams and a process.
type plumbing struct {
	theirs  [3]*os.File // the process's ends
	ours    [3]*os.File
	console *os.File

	copying sync.WaitGroup // of output
	feeding sync.WaitGroup // of input and terminal sizes
	stop    context.CancelFunc
	stdin   io.Reader
}

func newPlumbing(s Streams, tty bool) (*plumbing, error) {
	p := &plumbing{stop: func() {}, stdin: s.Stdin}
	if tty {
		return p, nil
	}
	wanted := [3]bool{s.Stdin != nil, s.Stdout != nil, s.Stderr != nil}
	if oneWriter(s.Stdout, s.Stderr) {
		wanted[2] = false
		defer func() { p.theirs[2] = p.theirs[1] }()
	}
	for n, want := range wanted {
		if !want {
			continue
		}
		r, w, err := os.Pipe()
		if err != nil {
			p.close()
			return nil, fmt.Errorf("make a pipe: %w", err)
		}
		p.theirs[n], p.ours[n] = w, r
		if n == 0 {
			p.theirs[n], p.ours[n] = r, w
		}
	}
	return p, nil
}

// oneWriter reports whether both outputs go to the same writer, which then gets them through one pipe, in order and from
// one goroutine, as os/exec does it.
func oneWriter(a, b io.Writer) bool {
	return a != nil && b != nil && reflect.TypeOf(a).Comparable() && reflect.TypeOf(b).Comparable() && a == b
}

// connect starts the copying, once the process has its ends.
func (p *plumbing) connect(ctx context.Context, s Streams, console *os.File) {
	closeAll(p.theirs[:]...)
	p.theirs = [3]*os.File{}
	ctx, p.stop = context.WithCancel(ctx)
	if console != nil {
		p.console = console
		p.copyOut(s.Stdout, console)
		p.copyIn(console, s.Stdin, false)
		if s.Resize != nil {
			p.feeding.Go(func() { followSize(ctx, console, s.Resize) })
		}
		return
	}
	p.copyOut(s.Stdout, p.ours[1])
	p.copyOut(s.Stderr, p.ours[2]) // nil when it shares the pipe of standard output
	p.copyIn(p.ours[0], s.Stdin, true)
}

func (p *plumbing) copyOut(to io.Writer, from *os.File) {
	if to == nil || from == nil {
		return
	}
	p.copying.Go(func() {
		_, _ = io.Copy(to, from) // ends when the process's side is closed, or the caller has gone
	})
}

func (p *plumbing) copyIn(to *os.File, from io.Reader, closeAtEnd bool) {
	if to == nil || from == nil {
		return
	}
	p.feeding.Go(func() {
		_, _ = io.Copy(to, from) // ends with the caller's input, or when nobody reads any more
		if closeAtEnd {
			_ = to.Close()
		}
	})
}

// drain waits for the output, which something that the process left behind may hold open for as long as it lives, and then
// ends the input. Nobody waits after ctx.
func (p *plumbing) drain(ctx context.Context) {
	stop := context.AfterFunc(ctx, func() { closeAll(p.ours[:]...) })
	p.copying.Wait()
	stop()
	p.stop()
	if p.stdin != nil {
		closeReader(p.stdin)
	}
}

// close closes what is still open and waits for all copying.
func (p *plumbing) close() {
	p.stop()
	closeAll(p.theirs[:]...)
	closeAll(p.ours[:]...)
	closeAll(p.console)
	p.feeding.Wait()
	p.copying.Wait()
}
