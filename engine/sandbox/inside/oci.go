package inside

import (
	"errors"
	"path"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"naru/engine/sandbox/program"
)

// gate ends the talk with who created the container, and waits for who starts it.
func (m machine) gate() error {
	listener, err := m.file()
	if err != nil {
		return err
	}
	defer unix.Close(listener)
	if err := m.Say(program.MsgReady); err != 0 {
		return fail("ready", err)
	}
	// The socket's number stays taken: what is kept for the program stands above it.
	null, err := unix.Open("/", unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return fail("/", err)
	}
	if err := unix.Dup3(null, m.Sock, unix.O_CLOEXEC); err != nil {
		return fail("socket", err)
	}
	unix.Close(null)
	conn, err := accept(listener)
	if err != nil {
		return fail("wait for the start", err)
	}
	m.Sock = conn
	if err := m.Await(); err != 0 {
		return fail("wait for the start", err)
	}
	return nil
}

func accept(listener int) (int, error) {
	for {
		conn, _, err := unix.Accept4(listener, unix.SOCK_CLOEXEC)
		if !errors.Is(err, unix.EINTR) && !errors.Is(err, unix.ECONNABORTED) {
			return conn, err
		}
	}
}

// find fails as exec would when a program is not there, so that a container without one is not even created.
func find(o *program.Op) error {
	return fail(o.List[0], tryEach(o.List[0], o.Env, func(file string) error {
		if !path.IsAbs(file) {
			file = path.Join(o.Path, file)
		}
		return unix.Access(file, unix.X_OK)
	}))
}

// notify loads a filter and hands its notifications to who listens for them: the next system call may need an answer.
func (m machine) notify(o *program.Op) error {
	agent, err := m.file()
	if err != nil {
		return err
	}
	fd, errno := m.Seccomp()
	if errno != 0 {
		return fail("filter", errno)
	}
	if err := unix.Sendmsg(agent, []byte(o.Data), unix.UnixRights(fd), nil, 0); err != nil {
		return fail("send the notifications", err)
	}
	return fail("the listener", unix.Close(agent)) // it waits for the end of what is said
}

// file takes the descriptor that the operation names out of those that came along.
func (m machine) file() (int, error) {
	fd, errno := m.File()
	if errno != 0 {
		return -1, fail("a descriptor", errno)
	}
	return fd, nil
}

// runHook runs a program and waits for its end.
func runHook(o *program.Op) error {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return fail(o.Path, err)
	}
	// What it says goes where the container's own output goes, where people look for it.
	pid, err := syscall.ForkExec(o.Path, o.List, &syscall.ProcAttr{Env: o.Env, Files: []uintptr{uintptr(p[0]), 1, 2}})
	unix.Close(p[0])
	if err != nil {
		unix.Close(p[1])
		return fail(o.Path, err)
	}
	_, err = unix.Write(p[1], o.Bytes) // a pipe takes 64 KiB at once; a hook need not read
	unix.Close(p[1])
	if err != nil && !errors.Is(err, unix.EPIPE) {
		return fail(o.Path, err)
	}
	return awaitHook(pid, o)
}

// awaitHook reaps a hook, and kills it when its time is over.
func awaitHook(pid int, o *program.Op) error {
	if o.Flags > 0 {
		defer time.AfterFunc(time.Duration(o.Flags)*time.Second, func() {
			_ = unix.Kill(pid, unix.SIGKILL) // its end is seen below
		}).Stop()
	}
	for {
		var status unix.WaitStatus
		_, err := unix.Wait4(pid, &status, 0, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return fail(o.Path, err)
		case status.Signaled():
			return fail(o.Path, errors.New("killed (its time may be over)"))
		case status.ExitStatus() != 0:
			return fail(o.Path, errors.New("exit status "+strconv.Itoa(status.ExitStatus())))
		default:
			return nil
		}
	}
}
