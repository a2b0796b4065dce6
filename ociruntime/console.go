package ociruntime

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"naru/engine/sandbox"
	"naru/naru"
)

// sendConsole hands the terminal's master to whoever listens at a socket, and lets go of it.
func sendConsole(socket string, box *sandbox.Sandbox) error {
	if socket == "" || box.Console == nil {
		return nil
	}
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return naru.Errorf(naru.FailedPrecondition, "connect to the console socket: %w", err)
	}
	defer conn.Close()
	defer func() {
		box.Console.Close()
		box.Console = nil
	}()
	rights := unix.UnixRights(int(box.Console.Fd()))
	if _, _, err := conn.(*net.UnixConn).WriteMsgUnix([]byte("/dev/ptmx"), rights, nil); err != nil {
		return fmt.Errorf("send the terminal: %w", err)
	}
	return nil
}

// consoleSession joins a process's terminal with our own streams.
type consoleSession struct {
	master  *os.File // nil: the process has our streams themselves
	ours    *os.File
	restore func()
	output  sync.WaitGroup
}

func openConsole(master *os.File, files [3]*os.File) (*consoleSession, error) {
	s := &consoleSession{master: master, ours: files[0], restore: func() {}}
	if master == nil {
		return s, nil
	}
	if fd := int(files[0].Fd()); term.IsTerminal(fd) {
		state, err := term.MakeRaw(fd)
		if err != nil {
			return nil, fmt.Errorf("make the terminal raw: %w", err)
		}
		s.restore = func() { _ = term.Restore(fd, state) } // nothing more can be done about a terminal that refuses
		s.resize()
	}
	go func() { _, _ = io.Copy(master, files[0]) }() // ends with this program: a read of a terminal cannot be called off
	s.output.Go(func() { _, _ = io.Copy(files[1], master) })
	return s, nil
}

// resize gives the process's terminal the size of ours.
func (s *consoleSession) resize() {
	if s.master == nil {
		return
	}
	var size *unix.Winsize
	err := borrow(s.ours, func(fd int) (err error) {
		size, err = unix.IoctlGetWinsize(fd, unix.TIOCGWINSZ)
		return err
	})
	if err == nil { // ours is a terminal
		_ = borrow(s.master, func(fd int) error { return unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, size) }) // the process may have closed its side
	}
}

// borrow gives a file's descriptor to a call. Fd would make the file a blocking one, whose Close waits for a read of it.
func borrow(f *os.File, call func(fd int) error) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = conn.Control(func(fd uintptr) { failed = call(int(fd)) })
	return errors.Join(err, failed)
}

// end waits for the last of the output and puts our terminal back.
func (s *consoleSession) end() {
	s.output.Wait()
	s.restore()
}
