package server

import (
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"naru/engine/keeper/internal/wire"
)

// The files of a keeper in its folder, beside the socket.
const (
	lockName = "keeper.pid"
	logName  = "keeper.log"
)

// The descriptors that the starter hands to the keeper.
const (
	lockFD   = 3
	listenFD = 4
)

// Main is the program: `naru-keeper start DIR BUILD` makes sure that a keeper runs in DIR and returns when it can be
// connected to. It starts itself again, as a keeper that is nobody's child and in no session.
func Main(args []string) int {
	if len(args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: naru-keeper start DIR BUILD (naru runs it; it is of no use by hand)")
		return 2
	}
	var err error
	switch dir, build := args[2], args[3]; args[1] {
	case "start":
		err = start(dir, build)
	case "serve":
		err = serve(dir, build)
	default:
		err = fmt.Errorf("unknown command %q", args[1])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "naru-keeper:", err)
		return 1
	}
	return 0
}

// start is one at a time in a folder: whoever comes second finds the keeper of the first.
func start(dir, build string) error {
	if err := unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return fmt.Errorf("leave the daemon's descriptors: %w", err) // the keeper would hold them for ever
	}
	if err := os.Chdir(dir); err != nil { // a socket's path is short of room
		return err
	}
	turn, err := os.Open(".")
	if err != nil {
		return err
	}
	defer turn.Close()
	if err := unix.Flock(int(turn.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("lock %s: %w", dir, err)
	}
	if answers() {
		return nil
	}
	lock, err := takeLock()
	if err != nil {
		return err
	}
	defer lock.Close()
	listener, err := listen()
	if err != nil {
		return err
	}
	defer listener.Close()
	return launch(dir, build, lock, listener)
}

// answers reports whether a keeper listens in the current folder.
func answers() bool {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	return unix.Connect(fd, &unix.SockaddrUnix{Name: wire.SocketName}) == nil
}

// takeLock waits for the lock that a keeper holds as long as it lives: only one that is about to end can hold it
// now. Such a one removes the file, so the lock counts only if the file is still in the folder.
func takeLock() (*os.File, error) {
	for {
		f, err := os.OpenFile(lockName, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, err
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
			_ = f.Close()
			return nil, fmt.Errorf("lock %s: %w", lockName, err)
		}
		if isNamed(f, lockName) {
			return f, nil
		}
		_ = f.Close()
	}
}

func isNamed(f *os.File, name string) bool {
	here, err := f.Stat()
	if err != nil {
		return false
	}
	there, err := os.Stat(name)
	return err == nil && os.SameFile(here, there)
}

// listen makes the socket. Its file may be left from a keeper that died; nobody but root may connect, from the start.
func listen() (*os.File, error) {
	if err := os.Remove(wire.SocketName); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("create socket: %w", err)
	}
	f := os.NewFile(uintptr(fd), wire.SocketName)
	defer unix.Umask(unix.Umask(0o177))
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: wire.SocketName}); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("bind %s: %w", wire.SocketName, err)
	}
	if err := unix.Listen(fd, unix.SOMAXCONN); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("listen on %s: %w", wire.SocketName, err)
	}
	return f, nil
}

// launch starts the keeper. It does not wait for it: the socket queues those who come before it is ready.
func launch(dir, build string, lock, listener *os.File) error {
	log, err := os.OpenFile(logName, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	p, err := os.StartProcess("/proc/self/exe", []string{"naru-keeper", "serve", dir, build}, &os.ProcAttr{
		Dir:   "/",
		Env:   []string{"GOMAXPROCS=2"}, // given a number, the runtime does not wake up to look for a better one
		Files: []*os.File{null, log, log, lock, listener},
		Sys:   &unix.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return fmt.Errorf("start the keeper: %w", err)
	}
	return p.Release()
}

// serve is the keeper.
func serve(dir, build string) error {
	unix.CloseOnExec(lockFD)
	unix.CloseOnExec(listenFD)
	unix.Umask(0o022) // what a process expects that does not set its own, whatever the daemon's was
	if err := os.WriteFile("/proc/self/comm", []byte("naru-keeper"), 0); err != nil {
		logf("name the process: %v", err) // ps shows another name, no more
	}
	exe, err := unix.Open("/proc/self/exe", unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open own executable: %w", err)
	}
	p, err := newPoller()
	if err != nil {
		return err
	}
	s := &server{
		dir: dir, build: build, poller: p, listener: listenFD,
		exe: os.NewFile(uintptr(exe), "naru-keeper"), lock: os.NewFile(lockFD, lockName),
		children: map[string]*child{}, kept: map[string]int{},
		buffer: make([]byte, wire.MaxPacket), control: make([]byte, wire.ControlSize),
	}
	if err := os.WriteFile(s.path(lockName), strconv.AppendInt(nil, int64(os.Getpid()), 10), 0o600); err != nil {
		return fmt.Errorf("write %s: %w", lockName, err)
	}
	return s.run()
}
