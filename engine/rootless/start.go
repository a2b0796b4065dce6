// Package rootless lets an ordinary user run naru. It receives a program and its arguments, and runs it as root of a user
// namespace that belongs to the user, where it may mount, and make namespaces and network devices: with newuidmap and the
// ids of /etc/subuid where there are some, else with the user's own id alone. It hands back the exit status. What a
// container is, it does not know.
package rootless

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"

	"naru/engine/sandbox/fork"
)

// Command is a program to run as root of a user namespace.
type Command struct {
	Args, Env []string
	Files     []*os.File // become 0, 1, 2, …
	IDs       IDs
	Network   bool          // in a network namespace of its own
	Join      *os.File      // pidfd of a process in whose namespaces, made by an earlier Run with Network, it runs
	Mortal    bool          // it ends when this process does, however that does
	Started   func(pid int) // called when it runs
}

// enteredEnv tells a program that Run started it, and for which user.
const enteredEnv = "NARU_ROOTLESS"

// Entered says whether Run started this program: ids that its caller speaks of are then those outside.
func Entered() bool { return os.Getenv(enteredEnv) != "" }

// RunDir is where naru keeps sockets and what need not outlive the machine: root's folder for root, else the user's own.
func RunDir(roots string) string {
	uid := os.Getenv(enteredEnv)
	if uid == "" && os.Geteuid() == 0 {
		return roots
	}
	if uid == "" {
		uid = strconv.Itoa(os.Getuid())
	}
	if dir := os.Getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "naru")
	}
	return filepath.Join("/run/user", uid, "naru")
}

// DataDir is where naru keeps what must not be lost: root's folder for root, else one in the user's home.
func DataDir(roots string) string {
	if !Entered() && os.Geteuid() == 0 {
		return roots
	}
	if dir := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "naru")
	}
	return filepath.Join(os.Getenv("HOME"), ".local/share/naru")
}

// Run runs this very program with other arguments, as root, and returns its exit status: 128 and the number of the
// signal that ended it.
func Run(c Command) (status int, err error) {
	runtime.LockOSThread() // the kernel takes the end of the thread that forks for the parent's
	defer runtime.UnlockOSThread()
	p, err := c.start()
	if err != nil {
		return 0, fmt.Errorf("make a user namespace: %w", explain(err))
	}
	defer p.FD.Close()
	if c.Started != nil {
		c.Started(p.PID)
	}
	defer passSignals(p)()
	return await(p)
}

func (c Command) start() (fork.Process, error) {
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		return fork.Process{}, err
	}
	defer self.Close()
	cmd := fork.Cmd{
		Exe: self, Args: c.Args, Files: c.Files, KillWithParent: c.Mortal,
		Env: append(c.Env[:len(c.Env):len(c.Env)], enteredEnv+"="+strconv.Itoa(os.Getuid())),
	}
	if c.Join != nil {
		cmd.Joins = []fork.Join{{File: c.Join, Flags: unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWNET}}
		return fork.Start(cmd)
	}
	cmd.Namespaces, cmd.MapIDs = unix.CLONE_NEWUSER|unix.CLONE_NEWNS, c.IDs.write
	if c.Network {
		cmd.Namespaces |= unix.CLONE_NEWNET
	}
	return fork.Start(cmd)
}

// StayMortal is for a program that a Mortal Run started, before it becomes another: the kernel notes with the thread which
// is to end with the parent, and a program's next one begins as the thread that calls it.
func StayMortal() error {
	if !Entered() {
		return nil
	}
	runtime.LockOSThread()
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return fmt.Errorf("arrange to end with the parent: %w", err)
	}
	return nil
}

// explain names the switches of the kernel and of distributions that keep ordinary users from user namespaces.
func explain(err error) error {
	switch {
	case errors.Is(err, unix.ENOSPC):
		return fmt.Errorf("%w: the sysctl user.max_user_namespaces allows no (more) user namespaces", err)
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return fmt.Errorf("%w: ordinary users may not make them here: see the sysctls kernel.unprivileged_userns_clone "+
			"and kernel.apparmor_restrict_unprivileged_userns", err)
	}
	return err
}

// passSignals hands signals on until stop is called.
func passSignals(p fork.Process) (stop func()) {
	signals, done := make(chan os.Signal, 64), make(chan struct{})
	signal.Notify(signals)
	go func() {
		defer close(done)
		passOn(signals, p)
	}()
	return func() {
		signal.Stop(signals)
		close(signals)
		<-done
	}
}

// passOn hands signals on. Those of the terminal reach every process in its foreground by themselves.
func passOn(signals <-chan os.Signal, p fork.Process) {
	for s := range signals {
		switch s {
		case unix.SIGCHLD, unix.SIGURG, unix.SIGPIPE: // of ours, or of the Go runtime's
			continue
		case unix.SIGINT, unix.SIGQUIT, unix.SIGWINCH, unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU, unix.SIGCONT:
			if inForeground() {
				continue
			}
		}
		_ = unix.PidfdSendSignal(int(p.FD.Fd()), s.(unix.Signal), nil, 0) // it has ended: its status comes next
	}
}

// inForeground says whether this process is in the foreground of its terminal.
func inForeground() bool {
	tty, err := os.OpenFile("/dev/tty", os.O_RDONLY|unix.O_NOCTTY, 0)
	if err != nil {
		return false
	}
	defer tty.Close()
	group, err := unix.IoctlGetInt(int(tty.Fd()), unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}

func await(p fork.Process) (status int, err error) {
	for {
		var s unix.WaitStatus
		_, err := unix.Wait4(p.PID, &s, 0, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return 0, fmt.Errorf("wait for process %d: %w", p.PID, err)
		case s.Signaled():
			return 128 + int(s.Signal()), nil
		default:
			return s.ExitStatus(), nil
		}
	}
}
