// Package inside is the init of containers that ask for more than system calls: hooks, files that are copied, a gate to
// wait at. It executes a program as package bare does, and with it, adds the operations that take a Go runtime, and ends by
// becoming the user's process, or the reaper beside it. It decides nothing, owns nothing that outlives exec, and stays
// small: standard library and x/sys.
package inside

import (
	"errors"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"naru/engine/sandbox/bare"
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
	head := bare.New(program.SocketFD, -1, 0, 0, 0)
	if !head.Begin() {
		os.Exit(1)
	}
	size, room, files := head.Head()
	exe, err := unix.Open("/proc/self/exe", unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		exe = -1 // missed by who wants a reaper
	}
	m := machine{bare.New(program.SocketFD, exe, int(files), int(size), int(room))}
	if m.Body(m.Reader.Fill(size, room), size, files) {
		m.run()
	}
	os.Exit(1)
}

// machine is a bare one that can do more.
type machine struct{ *bare.Machine }

func (m machine) run() {
	for m.Reader.Next(&m.Op) {
		if bare.Can(m.Op.Kind) {
			if err := m.Execute(); err != 0 {
				m.Fail(err)
				return
			}
			continue
		}
		op := m.Reader.Op(&m.Op)
		if err := m.execute(&op); err != nil {
			m.report(err)
			return
		}
	}
	m.Op.Kind = 0
	m.FailAbout(unix.EINVAL, "the program")
}

// execute runs an operation that takes more than system calls.
func (m machine) execute(o *program.Op) error {
	switch o.Kind {
	case program.Gate:
		return m.gate()
	case program.Hook:
		return runHook(o)
	case program.Find:
		return find(o)
	case program.CopyUp:
		return m.copyUp(o)
	case program.Notify:
		return m.notify(o)
	}
	return fail(o.Kind.String(), unix.ENOSYS)
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

// report tells the daemon which operation failed; it is the last thing an init does.
func (m machine) report(err error) {
	var errno syscall.Errno
	if about := (*failure)(nil); errors.As(err, &errno) && errors.As(err, &about) {
		m.FailAbout(errno, about.about)
		return
	}
	m.FailAbout(0, err.Error())
}
