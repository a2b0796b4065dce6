package sandbox

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"naru/engine/sandbox/bare"
	"naru/engine/sandbox/fork"
	"naru/engine/sandbox/program"
	"naru/naru"
)

// session is the talk with one init, from its fork to its exec.
type session struct {
	conn    *net.UnixConn
	process fork.Process
	console *os.File
	ready   bool // the init said that it is about to exec
}

// spawn starts an init with one end of a socket as its descriptor 3.
func spawn(ctx context.Context, sp Spawner, id string, cmd fork.Cmd, files [3]*os.File, keep []*os.File) (*session, error) {
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	cmd.Files = append(append(files[:], theirs), keep...)
	p, err := sp.Spawn(ctx, id, cmd)
	if err != nil {
		ours.Close()
		if errors.Is(err, unix.EAGAIN) {
			err = naru.Errorf(naru.Failed, "no more processes: the container's limit is met, or the machine's: %w", err)
		}
		return nil, fmt.Errorf("spawn %s: %w", id, err)
	}
	return &session{conn: ours, process: p}, nil
}

func socketPair() (*net.UnixConn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make a socket pair: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "init"), os.NewFile(uintptr(fds[1]), "init")
	defer ours.Close()
	conn, err := net.FileConn(ours)
	if err != nil {
		theirs.Close()
		return nil, nil, fmt.Errorf("make a socket pair: %w", err)
	}
	return conn.(*net.UnixConn), theirs, nil
}

// finish runs setUp and follows the init until it has executed; when that fails the init is ended.
func (s *session) finish(ctx context.Context, setUp func() error) (*Sandbox, error) {
	stop := context.AfterFunc(ctx, func() { s.conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	err := s.explain(setUp())
	if err == nil {
		err = s.awaitExec()
	}
	if err == nil {
		box := &Sandbox{PID: s.process.PID, PidFD: s.process.FD, Console: s.console}
		s.process.FD, s.console = nil, nil
		return box, nil
	}
	if ctx.Err() != nil {
		err = fmt.Errorf("start: %w", context.Cause(ctx))
	}
	return nil, errors.Join(err, s.kill(context.WithoutCancel(ctx)))
}

// explain prefers what the init said to what its end makes of the host's part: a broken pipe, or files of /proc that are
// not there.
func (s *session) explain(err error) error {
	closed := errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET)
	if err == nil || !closed && !s.ended() {
		return err
	}
	if said := s.awaitExec(); said != nil {
		return said
	}
	return err
}

// ended says whether the init has.
func (s *session) ended() bool {
	pidfd := []unix.PollFd{{Fd: int32(s.process.FD.Fd()), Events: unix.POLLIN}}
	n, err := unix.Poll(pidfd, 0)
	return n > 0 && err == nil
}

// awaitExec reads what the init says until it closes the socket.
func (s *session) awaitExec() error { return s.await(0) }

// await reads what the init says until it says last, or closes the socket.
func (s *session) await(last byte) error {
	kind := make([]byte, 1)
	oob := make([]byte, unix.CmsgSpace(4))
	for {
		n, oobn, _, _, err := s.conn.ReadMsgUnix(kind, oob)
		switch {
		case n == 0 && (err == nil || errors.Is(err, io.EOF)) && s.ready:
			return nil
		case n == 0 && (err == nil || errors.Is(err, io.EOF)), errors.Is(err, unix.ECONNRESET):
			return naru.Errorf(naru.Failed, "the container's init ended before its program started: it was killed, or met the container's limit of memory or of processes")
		case err != nil:
			return fmt.Errorf("hear from the init: %w", err)
		}
		if err := s.understand(kind[0], oob[:oobn]); err != nil {
			return err
		}
		if kind[0] == last {
			return nil
		}
	}
}

func (s *session) understand(kind byte, oob []byte) error {
	switch kind {
	case program.MsgReady:
		s.ready = true
	case program.MsgSync:
	case program.MsgConsole:
		return s.keepConsole(oob)
	case program.MsgFailure:
		return s.readFailure()
	default:
		return fmt.Errorf("hear from the init: message %q", kind)
	}
	return nil
}

func (s *session) keepConsole(oob []byte) error {
	fds, err := rights(oob)
	if err != nil || len(fds) != 1 {
		return fmt.Errorf("receive the terminal: %d descriptors: %w", len(fds), err)
	}
	if err := unix.SetNonblock(fds[0], true); err != nil { // so that reads of it end when it is closed
		unix.Close(fds[0])
		return fmt.Errorf("receive the terminal: %w", err)
	}
	s.console = os.NewFile(uintptr(fds[0]), "console")
	return nil
}

func rights(oob []byte) ([]int, error) {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil || len(msgs) != 1 {
		return nil, err
	}
	fds, err := unix.ParseUnixRights(&msgs[0])
	for _, fd := range fds {
		unix.CloseOnExec(fd)
	}
	return fds, err
}

// maxFailure bounds what an init can make us read.
const maxFailure = 64 << 10

func (s *session) readFailure() error {
	var size [4]byte
	if _, err := io.ReadFull(s.conn, size[:]); err != nil {
		return fmt.Errorf("hear of a failure: %w", err)
	}
	b := make([]byte, min(binary.LittleEndian.Uint32(size[:]), maxFailure))
	if _, err := io.ReadFull(s.conn, b); err != nil {
		return fmt.Errorf("hear of a failure: %w", err)
	}
	f, err := program.DecodeFailure(b)
	if err != nil {
		return fmt.Errorf("hear of a failure: %w", err)
	}
	return failureError(f)
}

// ExecError says that the user's program could not be executed.
type ExecError struct {
	Name string
	Err  error
}

func (e *ExecError) Error() string { return fmt.Sprintf("exec %q: %v", e.Name, e.Err) }

// Unwrap returns the kernel's reason.
func (e *ExecError) Unwrap() error { return e.Err }

// ExitCode is what a shell would exit with.
func (e *ExecError) ExitCode() int {
	if errors.Is(e.Err, unix.ENOENT) {
		return 127
	}
	return 126
}

func failureError(f program.Failure) error {
	if f.Errno == 0 {
		return fmt.Errorf("%s: %s", f.Kind, f.Text)
	}
	errno := syscall.Errno(f.Errno)
	switch {
	case f.Kind == program.Exec || f.Kind == program.Find:
		return &naru.Error{Code: naru.Failed, Err: &ExecError{Name: f.Text, Err: errno}}
	case f.Kind == program.Cwd:
		return naru.Errorf(naru.Failed, "working directory %s: %w", f.Text, errno)
	case f.Kind == program.Rlimit && errno == unix.EPERM:
		return naru.Errorf(naru.PermissionDenied, "rlimit %s: raising it needs CAP_SYS_RESOURCE, which naru lacks here: %w", f.Text, errno)
	case f.Kind == program.Label && errno == unix.ENOENT:
		return naru.Errorf(naru.FailedPrecondition, "spec field process.apparmorProfile %q: no such profile is loaded, see apparmor_parser: %w",
			strings.TrimPrefix(f.Text, "exec "), errno)
	case f.Kind == program.Label && errno == unix.EINVAL:
		return naru.Errorf(naru.FailedPrecondition, "spec field process.selinuxLabel %q: the policy has no such label: %w", f.Text, errno)
	case f.Kind == program.Keyring && errno == unix.EDQUOT:
		return naru.Errorf(naru.FailedPrecondition, "this user has as many keys as the kernel lets it, raise the sysctl kernel.keys.maxkeys: %w", errno)
	case f.Text == "":
		return fmt.Errorf("%s: %w", f.Kind, errno)
	}
	return fmt.Errorf("%s %s: %w", f.Kind, f.Text, errno)
}

// send passes the program with its descriptors.
func (s *session) send(files []*os.File, ops []program.Op) error {
	if err := checkStrings(ops); err != nil {
		return err
	}
	code, room := program.Encode(nil, ops)
	if _, err := s.conn.Write(program.Head(len(code), room, len(files))); err != nil {
		return fmt.Errorf("send the program to the init: %w", err)
	}
	for len(files) > 0 {
		n := min(len(files), program.MaxFiles)
		fds := make([]int, n)
		for i, f := range files[:n] {
			fds[i] = int(f.Fd())
		}
		if _, _, err := s.conn.WriteMsgUnix([]byte{0}, unix.UnixRights(fds...), nil); err != nil {
			return fmt.Errorf("send descriptors to the init: %w", err)
		}
		files = files[n:]
	}
	if _, err := s.conn.Write(code); err != nil {
		return fmt.Errorf("send the program to the init: %w", err)
	}
	return nil
}

// bareFits says whether the program can be executed between fork and exec.
func bareFits(ops []program.Op, files int) bool {
	code, room := program.Encode(nil, ops)
	return bare.Fits(ops, files, len(code), room)
}

// checkStrings refuses what the kernel would read a part of only.
func checkStrings(ops []program.Op) error {
	nul := func(s string) bool { return strings.Contains(s, "\x00") }
	for _, o := range ops {
		if nul(o.Path) || nul(o.Source) || nul(o.Type) || nul(o.Data) || slices.ContainsFunc(o.List, nul) || slices.ContainsFunc(o.Env, nul) {
			return naru.Errorf(naru.InvalidArgument, "%s %q: a NUL byte ends a string", o.Kind, cmp.Or(o.Path, o.Data))
		}
	}
	return nil
}

// letGo tells the init that the host's part is done.
func (s *session) letGo() error {
	if _, err := s.conn.Write([]byte{program.MsgGo}); err != nil {
		return fmt.Errorf("let the init go: %w", err)
	}
	return nil
}

// kill ends the init and waits until it is gone; when it is our own child it is reaped too.
func (s *session) kill(ctx context.Context) error {
	fd := int(s.process.FD.Fd())
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("kill the init: %w", err)
	}
	if err := awaitExit(ctx, s.process.FD); err != nil {
		return err
	}
	_ = unix.Waitid(unix.P_PIDFD, fd, nil, unix.WEXITED|unix.WNOHANG, nil) // ECHILD: the keeper's
	return nil
}

func (s *session) close() {
	s.conn.Close()
	if s.process.FD != nil {
		s.process.FD.Close()
	}
	if s.console != nil {
		s.console.Close()
	}
}

// prepareProcess does what only the host may do to the waiting init: the OOM score, limits that rise, and the owner
// of its stdio (a program must be able to open /dev/stdout again as its own user, as nginx's image does).
func (s *session) prepareProcess(p *specs.Process, ids idmaps) error {
	if p.OOMScoreAdj != nil {
		if err := setOOMScore(s.process.PID, *p.OOMScoreAdj); err != nil {
			return err
		}
	}
	if err := raiseLimits(s.process.PID, p.Rlimits); err != nil {
		return err
	}
	uid, gid := ids.hostUID(p.User.UID), ids.hostGID(p.User.GID)
	for fd := range 3 {
		if err := ownPipe(procPath(s.process.PID, "fd/"+strconv.Itoa(fd)), uid, gid); err != nil {
			return fmt.Errorf("give descriptor %d to the user: %w", fd, err)
		}
	}
	return nil
}

// ownPipe leaves a pipe as it is that naru may not give away: the process has it open all the same.
func ownPipe(path string, uid, gid int) error {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFIFO {
		return nil
	}
	if err := os.Chown(path, uid, gid); !errors.Is(err, unix.EPERM) {
		return err
	}
	return nil
}

func setOOMScore(pid, score int) error {
	err := os.WriteFile(procPath(pid, "oom_score_adj"), strconv.AppendInt(nil, int64(score), 10), 0)
	if errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) {
		return naru.Errorf(naru.PermissionDenied, "oom_score_adj %d: lowering it needs CAP_SYS_RESOURCE, which naru lacks here: %w", score, err)
	}
	return err
}

// raiseLimits makes room for limits above the hard ones that the init was born with: inside a user namespace it may
// not raise them itself. Where naru may not either, the init meets the error and names the limit.
func raiseLimits(pid int, limits []specs.POSIXRlimit) error {
	for _, l := range limits {
		var has unix.Rlimit
		resource := rlimits()[l.Type]
		if err := unix.Prlimit(pid, resource, nil, &has); err != nil {
			return fmt.Errorf("read limit %s: %w", l.Type, err)
		}
		if has.Max < l.Hard {
			has.Max = l.Hard
			_ = unix.Prlimit(pid, resource, &has, nil) // see above
		}
	}
	return nil
}

func procPath(pid int, name string) string {
	return filepath.Join("/proc", strconv.Itoa(pid), name)
}
