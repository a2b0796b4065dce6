package fork

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"naru/engine/sandbox/bare"
	"naru/engine/sandbox/program"
)

// birth is one fork seen from the parent: the child's layout, and the parent's ends of its pipes.
type birth struct {
	cmd   Cmd
	child child
	null  *os.File
	argv  []*byte // kept alive for child.argv
	envv  []*byte
	pidFD int32 // written by the kernel for a direct child

	reports *os.File // read end
	said    *os.File // write end, the child's
	maps    [2]*os.File

	pid       int // of the process, 0 while unknown
	goBetween int // of a joined birth, 0 when reaped
}

func newBirth(cmd Cmd) (_ *birth, err error) {
	b := &birth{cmd: cmd, pidFD: -1}
	defer func() {
		if err != nil {
			b.close()
		}
	}()
	if b.argv, err = syscall.SlicePtrFromStrings(cmd.Args); err != nil {
		return nil, err
	}
	if b.envv, err = syscall.SlicePtrFromStrings(cmd.Env); err != nil {
		return nil, err
	}
	if b.reports, b.said, err = pipe(); err != nil {
		return nil, err
	}
	if cmd.Namespaces&unix.CLONE_NEWUSER != 0 {
		if b.maps[0], b.maps[1], err = pipe(); err != nil {
			return nil, err
		}
	}
	if b.null, err = os.OpenFile(os.DevNull, os.O_RDWR, 0); err != nil {
		return nil, err
	}
	b.layOut()
	return b, nil
}

// pipe makes a blocking pipe: the child's end is read and written by raw system calls, without a poller.
func pipe() (r, w *os.File, err error) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return nil, nil, fmt.Errorf("make a pipe: %w", err)
	}
	return os.NewFile(uintptr(p[0]), "pipe"), os.NewFile(uintptr(p[1]), "pipe"), nil
}

// layOut fills the child's memory: after the fork nothing can be computed.
func (b *birth) layOut() {
	cmd, c := &b.cmd, &b.child
	c.argv, c.envv = &b.argv[0], &b.envv[0]
	c.zero = [2]byte{'0'}
	c.exe, c.report = -1, int(b.said.Fd())
	if cmd.Exe != nil {
		c.exe = int(cmd.Exe.Fd())
	}
	if cmd.Bare {
		exe := -1
		if cmd.Exe != nil {
			exe = len(cmd.Files) // see keepFiles
		}
		c.bare = bare.New(program.SocketFD, exe, bare.MaxFiles, bare.MaxSize, bare.MaxRoom)
	}
	c.setsid, c.killWithParent = cmd.Setsid, cmd.KillWithParent
	c.becomeRoot = cmd.Namespaces&unix.CLONE_NEWUSER != 0
	c.mapsRead, c.mapsWrite = -1, -1
	for _, j := range cmd.Joins {
		c.joins = append(c.joins, join{fd: int(j.File.Fd()), flags: j.Flags})
		c.becomeRoot = c.becomeRoot || j.Flags&unix.CLONE_NEWUSER != 0
	}
	if b.maps[0] != nil {
		c.mapsRead, c.mapsWrite = int(b.maps[0].Fd()), int(b.maps[1].Fd())
	}
	b.layOutClone()
	b.layOutFiles()
}

func (b *birth) layOutClone() {
	cmd, c := &b.cmd, &b.child
	c.clone.flags = uint64(cmd.Namespaces)
	c.clone.exitSignal = uint64(syscall.SIGCHLD)
	if len(cmd.Joins) > 0 {
		c.clone.flags |= unix.CLONE_PARENT
		c.clone.exitSignal = 0 // CLONE_PARENT takes the go-between's, SIGCHLD; clone3 refuses another
		c.between.exitSignal = uint64(syscall.SIGCHLD)
		enterCgroup(&c.between, cmd.CgroupFD)
		return
	}
	enterCgroup(&c.clone, cmd.CgroupFD)
	c.clone.flags |= unix.CLONE_PIDFD
	c.clone.pidFD = uint64(uintptr(unsafe.Pointer(&b.pidFD)))
}

func enterCgroup(c *cloneArgs, fd int) {
	if fd > 0 {
		c.flags |= unix.CLONE_INTO_CGROUP
		c.cgroup = uint64(fd)
	}
}

func (b *birth) layOutFiles() {
	c := &b.child
	for _, f := range b.cmd.Cgroups {
		c.cgroups = append(c.cgroups, int(f.Fd()))
	}
	for _, f := range b.cmd.Files {
		if f == nil {
			f = b.null
		}
		c.files = append(c.files, int(f.Fd()))
	}
	c.free = max(c.exe, c.report, c.mapsRead, c.mapsWrite, len(c.files))
	for _, j := range c.joins {
		c.free = max(c.free, j.fd)
	}
	for _, fd := range append(append([]int{}, c.files...), c.cgroups...) {
		c.free = max(c.free, fd)
	}
	c.free++
}

// fork makes the child, or the go-between of a joined one.
func (b *birth) fork() error {
	syscall.ForkLock.Lock()
	defer syscall.ForkLock.Unlock()
	if len(b.cmd.Joins) > 0 {
		pid, errno := forkJoined(&b.child)
		if errno != 0 {
			return fmt.Errorf("fork: %w", errno)
		}
		b.goBetween = int(pid)
		return nil
	}
	pid, errno := forkDirect(&b.child)
	if errno != 0 {
		b.pidFD = -1 // the kernel may have written down the number of one that it has closed since
		return fmt.Errorf("clone into new namespaces: %w", errno)
	}
	b.pid = int(pid)
	return nil
}

// attend follows the child until it executes, and writes its id maps when it is there to have them.
func (b *birth) attend() (Process, error) {
	closeFile(&b.said)
	closeFile(&b.maps[0])
	if b.pid != 0 {
		if err := b.writeMaps(); err != nil {
			return Process{}, err
		}
	}
	for {
		r, done, err := b.nextReport()
		switch {
		case err != nil:
			return Process{}, err
		case done:
			return b.process()
		case r.step != stepBorn:
			return Process{}, r.err()
		}
		b.pid = int(r.value)
		if err := b.writeMaps(); err != nil {
			return Process{}, err
		}
	}
}

// nextReport reads one report; done means that the pipe was closed by exec.
func (b *birth) nextReport() (r report, done bool, err error) {
	buf := (*[unsafe.Sizeof(r)]byte)(unsafe.Pointer(&r))[:]
	n, err := b.reports.Read(buf)
	switch {
	case n == len(buf):
		return r, false, nil
	case n == 0 && b.pid == 0:
		return r, false, errors.New("fork: the process vanished before it was born")
	case n == 0:
		return r, true, nil
	}
	return r, false, fmt.Errorf("read the child's report: %w", err)
}

func (b *birth) process() (Process, error) {
	b.reapGoBetween()
	if len(b.cmd.Joins) == 0 {
		f := os.NewFile(uintptr(b.pidFD), "pidfd")
		b.pidFD = -1
		return Process{PID: b.pid, FD: f}, nil
	}
	fd, err := unix.PidfdOpen(b.pid, 0)
	if err != nil {
		return Process{}, fmt.Errorf("open a pidfd of %d: %w", b.pid, err)
	}
	return Process{PID: b.pid, FD: os.NewFile(uintptr(fd), "pidfd")}, nil
}

// writeMaps maps the child's ids and lets it go on; a child of no new user namespace does not wait for that.
func (b *birth) writeMaps() error {
	if b.maps[1] == nil {
		return nil
	}
	if err := b.mapIDs(); err != nil {
		return err
	}
	if _, err := b.maps[1].Write([]byte{0}); err != nil {
		return fmt.Errorf("let the child go on: %w", err)
	}
	return nil
}

func (b *birth) mapIDs() error {
	if b.cmd.MapIDs != nil {
		return b.cmd.MapIDs(b.pid)
	}
	proc := "/proc/" + strconv.Itoa(b.pid)
	if err := writeFile(proc+"/uid_map", formatIDMap(b.cmd.UIDMap)); err != nil {
		return fmt.Errorf("map user ids: %w", err)
	}
	if err := writeFile(proc+"/gid_map", formatIDMap(b.cmd.GIDMap)); err != nil {
		return fmt.Errorf("map group ids: %w", err)
	}
	return nil
}

func writeFile(path string, data []byte) error {
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CLOEXEC, 0) // the poller has no business with it
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	_, err = unix.Write(fd, data)
	return err
}

// bury ends and reaps what a failed birth left.
func (b *birth) bury() {
	b.reapGoBetween()
	if b.pid != 0 {
		_ = unix.Kill(b.pid, unix.SIGKILL) // a zombie needs none
		reap(b.pid)
	}
}

func (b *birth) reapGoBetween() {
	if b.goBetween != 0 {
		reap(b.goBetween)
		b.goBetween = 0
	}
}

func reap(pid int) {
	for {
		if _, err := unix.Wait4(pid, nil, 0, nil); !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// close lets go of the parent's descriptors, and keeps everything that the child used alive until here.
func (b *birth) close() {
	closeFile(&b.reports)
	closeFile(&b.said)
	closeFile(&b.maps[0])
	closeFile(&b.maps[1])
	closeFile(&b.null)
	if b.pidFD >= 0 {
		unix.Close(int(b.pidFD))
	}
	runtime.KeepAlive(b.cmd)
}

func closeFile(f **os.File) {
	if *f != nil {
		(*f).Close()
		*f = nil
	}
}

// err says in words where a child failed.
func (r report) err() error {
	errno := syscall.Errno(r.value)
	switch r.step {
	case stepJoin:
		return fmt.Errorf("enter the namespaces: %w", errno)
	case stepClone:
		return fmt.Errorf("clone in the namespaces: %w", errno)
	case stepMaps:
		return fmt.Errorf("wait for the id maps: %w", errno)
	case stepCgroup:
		return fmt.Errorf("enter the cgroup: %w", errno)
	case stepIdentity:
		return fmt.Errorf("become root of the user namespace: %w", errno)
	case stepSession:
		return fmt.Errorf("start a session: %w", errno)
	case stepDeathSignal:
		return fmt.Errorf("arrange to die with the parent: %w", errno)
	case stepFiles:
		return fmt.Errorf("arrange descriptors: %w", errno)
	case stepExec:
		return fmt.Errorf("execute: %w", errno)
	}
	return fmt.Errorf("fork step %d: %w", r.step, errno)
}
