package inside

import (
	"errors"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"

	"naru/engine/sandbox/bare"
	"naru/engine/sandbox/program"
)

// reapMain is process 1 of a container with Init: it starts the user's process, passes signals on to it, reaps
// whatever the container leaves, and ends as the user's process ended.
func reapMain() {
	m := machine{bare.New(program.SocketFD, -1, 0, 0, 0)}
	m.Op.Kind = program.Exec
	unix.CloseOnExec(m.Sock)
	if err := m.Say(program.MsgReady); err != 0 {
		os.Exit(1) // the daemon went away
	}
	// Caught before the child is there, so that no signal is lost; exec gives the child its defaults back.
	signals := make(chan os.Signal, 64)
	signal.Notify(signals)
	pid, err := startChild(os.Args[1:])
	if err != nil {
		m.report(fail(os.Args[1], err))
		os.Exit(127)
	}
	unix.Close(m.Sock)
	go passOn(signals, pid)
	os.Exit(reapUntil(pid))
}

func startChild(args []string) (pid int, err error) {
	attr := &syscall.ProcAttr{Env: os.Environ(), Files: []uintptr{0, 1, 2}, Sys: &syscall.SysProcAttr{}}
	if _, err := unix.IoctlGetTermios(0, unix.TCGETS); err == nil {
		attr.Sys.Foreground = true // of the terminal on descriptor 0
	} else {
		attr.Sys.Setpgid = true
	}
	err = tryEach(args[0], attr.Env, func(file string) error {
		pid, err = syscall.ForkExec(file, args, attr)
		return err
	})
	return pid, err
}

func passOn(signals <-chan os.Signal, pid int) {
	for s := range signals {
		switch s {
		case unix.SIGCHLD, unix.SIGURG, unix.SIGTTIN, unix.SIGTTOU: // ours, the Go runtime's, the terminal's
		default:
			_ = unix.Kill(pid, s.(syscall.Signal)) // it has ended: nobody is left to tell
		}
	}
}

// reapUntil reaps children until pid is one of them, and returns the exit status to end with.
func reapUntil(pid int) int {
	for {
		var status unix.WaitStatus
		got, err := unix.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, unix.EINTR) || err == nil && got != pid:
		case err != nil:
			return 1
		case status.Signaled():
			return 128 + int(status.Signal())
		default:
			return status.ExitStatus()
		}
	}
}
