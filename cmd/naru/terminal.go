package main

import (
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"naru/api"
	"naru/api/client"
	"naru/naru"
)

// console is this program's side of a process: its streams, with the terminal prepared when it is to be one.
type console struct {
	client.Streams
	size    *api.Size
	restore func() // puts the terminal back and passes no signals on
}

// openConsole prepares the streams for a process. With tty the terminal becomes raw, so that the process sees every
// key; without one, a signal ends this program, and with it a process that is not a container's own.
func (c *cli) openConsole(stdin, tty bool) (*console, error) {
	con := &console{Streams: client.Streams{Stdout: c.out, Stderr: c.err}, restore: func() {}}
	if stdin {
		con.Stdin = c.in
	}
	if !tty {
		return con, nil
	}
	f, ok := c.in.(*os.File)
	if !ok || !isTerminal(f) {
		return nil, naru.Errorf(naru.InvalidArgument, "a terminal was asked for (-t), but standard input is none")
	}
	return con, con.raw(f, c.out)
}

// raw hands the keyboard to the process until restore, and follows the size of the terminal.
func (con *console) raw(in *os.File, out io.Writer) error {
	state, err := term.MakeRaw(int(in.Fd()))
	if err != nil {
		return fmt.Errorf("make the terminal raw: %w", err)
	}
	con.size = sizeOf(out)
	stop := con.followSize(out)
	con.restore = func() {
		stop()
		_ = term.Restore(int(in.Fd()), state) // nothing more can be done about a terminal that refuses
	}
	return nil
}

// followSize sends the terminal's size at every change until the function it returns is called.
func (con *console) followSize(out io.Writer) (stop func()) {
	changed := make(chan os.Signal, 1)
	signal.Notify(changed, unix.SIGWINCH)
	sizes := make(chan api.Size)
	con.Resize = sizes
	return relay(changed, func(_ os.Signal, done <-chan struct{}) {
		size := sizeOf(out)
		if size == nil {
			return
		}
		select {
		case sizes <- *size:
		case <-done:
		}
	})
}

// passSignals sends the names of the signals that would end this program to the process.
func (con *console) passSignals() {
	caught := make(chan os.Signal, 1)
	signal.Notify(caught, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	names := make(chan string)
	con.Signals = names
	con.restore = relay(caught, func(s os.Signal, done <-chan struct{}) {
		select {
		case names <- unix.SignalName(s.(syscall.Signal)):
		case <-done:
		}
	})
}

// relay calls act for every signal until the function it returns is called. The signals are not given back: the program
// ends next, and for each of them the Go runtime hands over between two threads, twice.
func relay(signals <-chan os.Signal, act func(s os.Signal, done <-chan struct{})) (stop func()) {
	done := make(chan struct{})
	var relaying sync.WaitGroup
	relaying.Go(func() {
		for {
			select {
			case s := <-signals:
				act(s, done)
			case <-done:
				return
			}
		}
	})
	return func() {
		close(done)
		relaying.Wait()
	}
}

// sizeOf is the size of the terminal that w is, or nil.
func sizeOf(w io.Writer) *api.Size {
	f, ok := w.(*os.File)
	if !ok {
		return nil
	}
	columns, rows, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return nil
	}
	return &api.Size{Rows: uint16(rows), Columns: uint16(columns)}
}
