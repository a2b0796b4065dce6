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

// sync lets the daemon act at a moment when everything but the new root is there.
func (m *machine) sync() error {
	if err := m.send([]byte{program.MsgSync}); err != nil {
		return fail("sync", err)
	}
	return m.await()
}

// gate ends the talk with who created the container, and waits for who starts it.
func (m *machine) gate(o *program.Op) error {
	listener, err := m.file(o)
	if err != nil {
		return err
	}
	defer unix.Close(listener)
	if err := m.send([]byte{program.MsgReady}); err != nil {
		return fail("ready", err)
	}
	// The socket's number stays taken: what is kept for the program stands above it.
	null, err := unix.Open("/", unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return fail("/", err)
	}
	if err := unix.Dup3(null, m.sock, unix.O_CLOEXEC); err != nil {
		return fail("socket", err)
	}
	unix.Close(null)
	conn, err := accept(listener)
	if err != nil {
		return fail("wait for the start", err)
	}
	m.sock = conn
	return m.await()
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

// keep moves the descriptors beside the socket one down, to where the program expects them.
func (m *machine) keep(n int) error {
	sock, err := unix.FcntlInt(uintptr(m.sock), unix.F_DUPFD_CLOEXEC, program.SocketFD+n+1)
	if err != nil {
		return fail("socket", err)
	}
	unix.Close(m.sock)
	m.sock = sock
	for i := range n {
		if err := unix.Dup3(program.SocketFD+1+i, program.SocketFD+i, 0); err != nil {
			return fail("keep a descriptor", err)
		}
	}
	return nil
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
