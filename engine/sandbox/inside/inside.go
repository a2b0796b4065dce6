// Package inside is what runs in a container before the user's program: it receives a program of operations from the
// daemon over a socket, executes them in order, and ends by becoming the user's process. It decides nothing, owns
// nothing that outlives exec, and stays small, since every container pays for its start: standard library and x/sys.
package inside

import (
	"encoding/binary"
	"errors"
	"math"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"naru/engine/sandbox/program"
)

// Main executes the program that the daemon sends over descriptor 3 and becomes the user's process; under the name
// "reap" it is process 1 of a container that asked for a reaper. It does not return.
func Main() {
	// Identity, namespaces and seccomp belong to a thread: the one that executes must be the one that is set up.
	runtime.LockOSThread()
	if os.Args[0] == program.ReapName {
		reapMain()
	}
	m := &machine{sock: program.SocketFD, root: -1, exe: -1, null: -1}
	if err := m.run(); err != nil {
		m.report(err)
	}
	os.Exit(1)
}

// machine executes a program.
type machine struct {
	sock  int
	files []int // descriptors that came along; from 4 on, those to keep stand beside the socket
	root  int   // the container's root, -1 in exec: the process's root is it
	exe   int   // this binary, for the reaper
	null  int   // the host's /dev/null
	op    *program.Op
}

// failure is an error of an operation with what it was about.
type failure struct {
	about string
	err   error
}

func (f *failure) Error() string { return f.about + ": " + f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// fail names what err was about; nil stays nil.
func fail(about string, err error) error {
	if err == nil {
		return nil
	}
	return &failure{about, err}
}

func (m *machine) run() error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fail("become undumpable", err)
	}
	// A descriptor that leaked into us ends with exec; so do all that the program brings.
	if err := unix.CloseRange(program.SocketFD, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return fail("close_range", err)
	}
	syscall.Umask(0)
	ops, err := m.receive()
	if err != nil {
		return err
	}
	for i := range ops {
		m.op = &ops[i]
		if err := m.execute(m.op); err != nil {
			return err
		}
	}
	return fail("program without an end", unix.EINVAL)
}

// execute runs one operation.
func (m *machine) execute(o *program.Op) error {
	switch o.Kind {
	case program.Layers:
		return m.prepareLayers(o)
	case program.Attach:
		return m.attach(o)
	case program.Overlay:
		return m.overlay(o)
	case program.Root:
		return m.openRoot(o)
	case program.Mount:
		return m.mount(o)
	case program.Bind:
		return m.bind(o)
	case program.Mkdir:
		return m.mkdir(o)
	case program.Symlink:
		return m.symlink(o)
	case program.Mknod:
		return m.mknod(o)
	case program.Mask:
		return m.mask(o)
	case program.ReadOnly:
		return m.readOnly(o)
	case program.Sysctl:
		return m.sysctl(o)
	case program.Pivot:
		return m.pivot(o)
	}
	return m.executeProcess(o)
}

// executeProcess runs an operation that is about the process, not about its files.
func (m *machine) executeProcess(o *program.Op) error {
	switch o.Kind {
	case program.Hostname:
		return fail(o.Data, unix.Sethostname([]byte(o.Data)))
	case program.Domainname:
		return fail(o.Data, unix.Setdomainname([]byte(o.Data)))
	case program.Console:
		return m.console(o)
	case program.Await:
		return m.await()
	case program.Rlimit:
		return setRlimit(o)
	case program.NoNewPrivs:
		return fail("", unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
	case program.Seccomp:
		return loadSeccomp(o)
	case program.Bounding:
		return dropBounding(o.Args[0])
	case program.User:
		return setUser(o)
	case program.Caps:
		return setCaps(o)
	case program.Cwd:
		return enterCwd(o.Path)
	case program.Exec:
		return m.exec(o)
	case program.Reap:
		return m.reap(o)
	}
	return m.executeOCI(o)
}

// executeOCI runs an operation that only the OCI command plans.
func (m *machine) executeOCI(o *program.Op) error {
	switch o.Kind {
	case program.Sync:
		return m.sync()
	case program.Gate:
		return m.gate(o)
	case program.Hook:
		return runHook(o)
	case program.Keep:
		return m.keep(int(o.Flags))
	case program.Find:
		return find(o)
	case program.Propagate:
		return m.propagate(o)
	case program.CopyUp:
		return m.copyUp(o)
	case program.Notify:
		return m.notify(o)
	}
	return m.executeAttributes(o)
}

// receive reads descriptors and the program.
func (m *machine) receive() ([]program.Op, error) {
	var kind [1]byte
	oob := make([]byte, unix.CmsgSpace(4*program.MaxFiles))
	for {
		n, oobn, err := m.recv(kind[:], oob)
		switch {
		case err != nil:
			return nil, fail("receive", err)
		case n == 0:
			os.Exit(1) // the daemon went away: nobody is left to tell
		case kind[0] == program.MsgProgram:
			return m.receiveProgram()
		case kind[0] != program.MsgFiles:
			return nil, fail("receive", unix.EBADMSG)
		}
		if err := m.keepFiles(oob[:oobn]); err != nil {
			return nil, fail("receive files", err)
		}
	}
}

func (m *machine) recv(b, oob []byte) (n, oobn int, err error) {
	for {
		n, oobn, _, _, err = unix.Recvmsg(m.sock, b, oob, unix.MSG_CMSG_CLOEXEC)
		if !errors.Is(err, unix.EINTR) {
			return n, oobn, err
		}
	}
}

func (m *machine) keepFiles(oob []byte) error {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return err
	}
	for i := range msgs {
		fds, err := unix.ParseUnixRights(&msgs[i])
		if err != nil {
			return err
		}
		m.files = append(m.files, fds...)
	}
	return nil
}

func (m *machine) receiveProgram() ([]program.Op, error) {
	var size [4]byte
	if err := m.readFull(size[:]); err != nil {
		return nil, fail("receive the program", err)
	}
	b := make([]byte, binary.LittleEndian.Uint32(size[:]))
	if err := m.readFull(b); err != nil {
		return nil, fail("receive the program", err)
	}
	ops, err := program.Decode(b)
	return ops, fail("receive the program", err)
}

func (m *machine) readFull(b []byte) error {
	for len(b) > 0 {
		n, err := unix.Read(m.sock, b)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return err
		case n == 0:
			return unix.EPIPE
		default:
			b = b[n:]
		}
	}
	return nil
}

// await waits for the daemon's word that everything outside is done.
func (m *machine) await() error {
	var b [1]byte
	if err := m.readFull(b[:]); err != nil || b[0] != program.MsgGo {
		os.Exit(1) // the daemon gave up
	}
	return nil
}

// file takes the descriptor that o names out of those that came along.
func (m *machine) file(o *program.Op) (int, error) {
	if o.FD >= len(m.files) {
		return -1, fail(o.Path, unix.EBADF)
	}
	return m.files[o.FD], nil
}

// report tells the daemon which operation failed; it is the last thing an init does.
func (m *machine) report(err error) {
	f := program.Failure{Text: err.Error()}
	if m.op != nil {
		f.Kind = m.op.Kind
	}
	var errno syscall.Errno
	if errors.As(err, &errno) {
		f.Errno = uint32(errno)
	}
	if about := (*failure)(nil); errors.As(err, &about) && errno != 0 {
		f.Text = about.about
	}
	body := f.Encode()
	msg := binary.LittleEndian.AppendUint32([]byte{program.MsgFailure}, uint32(len(body)))
	_ = m.send(append(msg, body...)) // a daemon that went away wants no report
}

func (m *machine) send(b []byte) error {
	for len(b) > 0 {
		n, err := unix.Write(m.sock, b)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
		b = b[max(n, 0):]
	}
	return nil
}
