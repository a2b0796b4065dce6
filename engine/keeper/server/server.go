// Package server is the keeper itself: it receives processes to start and descriptors to keep, owns them, as the
// parent of every long-lived container, the writer of their logs and the holder of the daemon's listening sockets,
// and hands back pids, exits and duplicates to whichever daemon asks. Daemons come and go; it stays.
//
// It is one loop over one epoll on one goroutine: no locks, no state that two could see, one buffer for all pipes,
// and a container costs it a few descriptors and a few kilobytes. What it does per event is short. Only the birth of
// a process, which can hang in a frozen cgroup, has a goroutine of its own, and leaves its result in a mailbox.
package server

import (
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"time"

	"golang.org/x/sys/unix"

	"naru/engine/keeper/internal/wire"
	"naru/engine/logs"
)

const (
	readSize  = 32 << 10 // from a pipe at a time: then it is another's turn
	gcPercent = 20       // of a heap that is tiny: the runtime's default lets 4 MB of garbage gather first
)

// server is the keeper's state.
type server struct {
	dir    string
	build  string // tells one keeper executable from another
	exe    *os.File
	lock   *os.File // DIR/keeper.pid, locked as long as the keeper lives
	poller *poller
	mail   *mailbox

	listener int
	listens  uint64 // its token
	spare    int    // a descriptor to do without when there is no other, see acceptor

	sequence uint64
	children map[string]*child
	unheard  int            // processes whose client went away before it heard of them, and that have not ended yet
	kept     map[string]int // descriptors by name

	buffer  []byte // for packets and pipes, one at a time
	control []byte
	scratch logs.Scratch
	ended   bool
}

// run serves until it is told to quit.
func (s *server) run() error {
	debug.SetGCPercent(gcPercent)
	defer s.poller.close()
	if err := s.loadExits(); err != nil {
		return err
	}
	var err error
	if s.mail, err = newMailbox(s.poller); err != nil {
		return err
	}
	defer s.mail.shut()
	defer s.watchSignals()()
	if s.listens, err = s.poller.add(s.listener, acceptor{s}); err != nil {
		return err
	}
	s.spare = openSpare()
	events := make([]unix.EpollEvent, 64)
	for !s.ended {
		if err := s.poller.wait(events, s.handle); err != nil {
			return err
		}
	}
	return nil
}

// handle gives one event to its source. A defect that shows in one event must not end what hangs on this process,
// so a panic costs one client or one log pipe at most.
func (s *server) handle(src source) {
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		logf("panic: %v\n%s", p, debug.Stack())
		if c, ok := src.(interface{ close() }); ok {
			c.close()
		}
	}()
	src.ready()
}

// keeps says what hangs on this process, or "".
func (s *server) keeps() string {
	running := s.unheard
	for _, c := range s.children {
		if !c.info.Exited {
			running++
		}
	}
	if running == 0 && len(s.kept) == 0 {
		return ""
	}
	return fmt.Sprintf("%d processes and %d descriptors", running, len(s.kept))
}

// end stops the loop and leaves nothing behind but what is not forgotten yet: the exits, and a log with something in
// it. The socket goes first, so that whoever comes now starts a new keeper, which waits for the lock.
func (s *server) end() {
	s.ended = true
	s.poller.remove(s.listener, s.listens)
	_ = unix.Close(s.listener)
	for _, c := range s.children {
		c.closeLogs()
	}
	_ = os.Remove(s.path(wire.SocketName))
	_ = os.Remove(s.path(exitsFolder)) // only when empty
	if info, err := os.Stat(s.path(logName)); err == nil && info.Size() == 0 {
		_ = os.Remove(s.path(logName))
	}
	_ = os.Remove(s.path(lockName))
	_ = s.lock.Close()
}

func (s *server) path(name string) string { return s.dir + "/" + name }

// watchSignals handles requests to end from outside, and SIGUSR1, which asks how it is. It does not ignore them: a child
// would inherit that.
func (s *server) watchSignals() (stop func()) {
	asking := []os.Signal{unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGUSR1}
	came, done := make(chan os.Signal, len(asking)), make(chan struct{})
	signal.Notify(came, asking...)
	go func() {
		defer close(done)
		for sig := range came {
			answer := s.askedToEnd
			if sig == unix.SIGUSR1 {
				answer = s.askedHow
			}
			s.mail.post(answer)
		}
	}()
	return func() {
		signal.Stop(came)
		close(came)
		<-done
	}
}

func (s *server) askedToEnd() {
	if keeps := s.keeps(); keeps != "" {
		logf("a signal asks to end: staying, for %s", keeps)
		return
	}
	s.end()
}

func (s *server) askedHow() {
	logf("a signal asks: %d children, %d descriptors, %d goroutines", len(s.children), len(s.kept), runtime.NumGoroutine())
}

// logf writes a line to DIR/keeper.log, which is stderr.
func logf(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%s %s\n", time.Now().UTC().Format(time.RFC3339Nano), fmt.Sprintf(format, args...))
}
