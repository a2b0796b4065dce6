package fork

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"naru/engine/sandbox/bare"
)

// Entering a user namespace with setns, and entering one's cgroup without waiting for a grace period of the kernel,
// only a process of one thread can do, and a Go program is one only between fork and exec. Package syscall forks
// without a place for such steps, so this file forks itself, with the three hooks that package syscall calls around
// its own fork (gVisor does the same). Between them and exec a child shares no locks with its parent's other threads,
// which are gone: it may not allocate, grow its stack or call into the runtime, so everything below runs on raw system
// calls over memory that newBirth laid out, in functions marked nosplit that the linker checks.

//go:linkname beforeFork syscall.runtime_BeforeFork
func beforeFork()

//go:linkname afterFork syscall.runtime_AfterFork
func afterFork()

//go:linkname afterForkInChild syscall.runtime_AfterForkInChild
func afterForkInChild()

// cloneArgs is the kernel's struct clone_args, up to the field that 5.7 added.
type cloneArgs struct {
	flags, pidFD, childTID, parentTID, exitSignal, stack, stackSize, tls, setTID, setTIDSize, cgroup uint64
}

// step numbers what a child does, so that it can report where it failed without a string.
type step uint32

const (
	stepJoin step = iota + 1
	stepClone
	stepMaps
	stepCgroup
	stepIdentity
	stepSession
	stepDeathSignal
	stepFiles
	stepExec
	stepBorn // no failure: value is the pid of the joined process
)

// report is what a child writes into its pipe: a step that failed with an errno, or its pid.
type report struct {
	step  step
	value uint32
}

// join is a namespace to enter.
type join struct {
	fd    int
	flags uintptr
	done  bool
}

// child is everything a process needs between fork and exec, laid out before the fork.
type child struct {
	clone   cloneArgs
	between cloneArgs // the go-between's, of a joined process
	joins   []join

	mapsRead, mapsWrite int // pipe that says that the id maps are written; -1: no maps
	cgroups             []int
	becomeRoot          bool // of the user namespace
	setsid              bool
	killWithParent      bool

	files  []int // becoming 0, 1, 2, …
	free   int   // the first descriptor above all that are named here
	exe    int
	report int
	argv   **byte
	envv   **byte
	bare   *bare.Machine // executes the program instead; or nil

	zero  [2]byte // "0", what a process writes into a tasks file to enter a cgroup
	empty [1]byte // "", the path beside AT_EMPTY_PATH
	out   report
	c     byte
}

// forkDirect clones the process itself.
//
//go:noinline
//go:norace
func forkDirect(c *child) (pid uintptr, err syscall.Errno) {
	beforeFork()
	pid, _, err = syscall.RawSyscall(unix.SYS_CLONE3, uintptr(unsafe.Pointer(&c.clone)), unsafe.Sizeof(c.clone), 0)
	if err != 0 || pid != 0 {
		afterFork()
		return pid, err
	}
	afterForkInChild()
	c.enterCgroups()
	c.become()
	c.bare.Main()
	c.exit()
	return 0, 0
}

// forkJoined forks a go-between that enters the namespaces and clones the process from there, as a child of ours
// (CLONE_PARENT): a pid namespace that is joined counts for children only. It is the go-between that is born in the
// cgroup, or enters it: from inside a cgroup namespace that was joined nobody may come in from the outside, and the limit
// of processes holds for those who are born there only.
//
//go:noinline
//go:norace
func forkJoined(c *child) (pid uintptr, err syscall.Errno) {
	beforeFork()
	pid, _, err = syscall.RawSyscall(unix.SYS_CLONE3, uintptr(unsafe.Pointer(&c.between)), unsafe.Sizeof(c.between), 0)
	if err != 0 || pid != 0 {
		afterFork()
		return pid, err
	}
	afterForkInChild()
	c.joinAndClone()
	c.bare.Main()
	c.exit()
	return 0, 0
}

// joinAndClone is the go-between's life; it returns in the clone. It becomes undumpable first: it is a copy of its parent's memory, and root of
// the container that it enters could otherwise read that.
//
//go:nosplit
//go:norace
func (c *child) joinAndClone() {
	syscall.RawSyscall(unix.SYS_PRCTL, unix.PR_SET_DUMPABLE, 0, 0)
	c.enterCgroups()
	c.enterNamespaces()
	pid, _, err := syscall.RawSyscall(unix.SYS_CLONE3, uintptr(unsafe.Pointer(&c.clone)), unsafe.Sizeof(c.clone), 0)
	if err != 0 {
		c.fail(stepClone, err)
	}
	if pid == 0 {
		c.become()
		return
	}
	c.say(stepBorn, uint32(pid))
	c.exit()
}

// enterNamespaces joins a user namespace after those that the starter has the rights to, and before those that only its
// own root may enter: what fails in the first pass has another try in the last.
//
//go:nosplit
//go:norace
func (c *child) enterNamespaces() {
	for pass := range 3 {
		for i := range c.joins {
			j := &c.joins[i]
			if j.done || (j.flags&unix.CLONE_NEWUSER != 0) != (pass == 1) {
				continue
			}
			_, _, err := syscall.RawSyscall(unix.SYS_SETNS, uintptr(j.fd), j.flags, 0)
			if err != 0 && pass > 0 {
				c.fail(stepJoin, err)
			}
			j.done = err == 0
		}
	}
}

// become turns the clone into the program, or makes it ready for bare: only then it returns.
//
//go:nosplit
//go:norace
func (c *child) become() {
	c.awaitMaps()
	c.becomeNamespaceRoot()
	c.arrangeSession()
	c.arrangeFiles()
	if c.bare != nil {
		c.keepFiles()
		return
	}
	_, _, err := syscall.RawSyscall6(unix.SYS_EXECVEAT, uintptr(c.free), uintptr(unsafe.Pointer(&c.empty)),
		uintptr(unsafe.Pointer(c.argv)), uintptr(unsafe.Pointer(c.envv)), unix.AT_EMPTY_PATH, 0)
	c.fail(stepExec, err)
}

//go:nosplit
//go:norace
func (c *child) awaitMaps() {
	if c.mapsRead < 0 {
		return
	}
	syscall.RawSyscall(unix.SYS_CLOSE, uintptr(c.mapsWrite), 0, 0)
	n, _, err := syscall.RawSyscall(unix.SYS_READ, uintptr(c.mapsRead), uintptr(unsafe.Pointer(&c.c)), 1)
	if err != 0 || n != 1 {
		c.fail(stepMaps, err)
	}
}

// enterCgroups writes "0" into each tasks file. A single thread that moves itself is the one case in which cgroup v1
// does not wait for an RCU grace period (about 10 ms when nobody moved a process lately).
//
//go:nosplit
//go:norace
func (c *child) enterCgroups() {
	for i := range c.cgroups {
		_, _, err := syscall.RawSyscall(unix.SYS_WRITE, uintptr(c.cgroups[i]), uintptr(unsafe.Pointer(&c.zero)), 1)
		if err != 0 {
			c.fail(stepCgroup, err)
		}
	}
}

// becomeNamespaceRoot takes the ids 0 of the user namespace: exec by an id that is not mapped would drop every
// capability. Where an ordinary user mapped the ids alone, the kernel lets nobody leave groups.
//
//go:nosplit
//go:norace
func (c *child) becomeNamespaceRoot() {
	if !c.becomeRoot {
		return
	}
	if _, _, err := syscall.RawSyscall(unix.SYS_SETGROUPS, 0, 0, 0); err != 0 && err != unix.EPERM {
		c.fail(stepIdentity, err)
	}
	if _, _, err := syscall.RawSyscall(unix.SYS_SETRESGID, 0, 0, 0); err != 0 {
		c.fail(stepIdentity, err)
	}
	if _, _, err := syscall.RawSyscall(unix.SYS_SETRESUID, 0, 0, 0); err != 0 {
		c.fail(stepIdentity, err)
	}
}

//go:nosplit
//go:norace
func (c *child) arrangeSession() {
	if c.setsid {
		if _, _, err := syscall.RawSyscall(unix.SYS_SETSID, 0, 0, 0); err != 0 {
			c.fail(stepSession, err)
		}
	}
	if c.killWithParent {
		_, _, err := syscall.RawSyscall(unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0)
		if err != 0 {
			c.fail(stepDeathSignal, err)
		}
	}
}

// arrangeFiles first copies every descriptor above all others, so that the second pass, down to 0, 1, 2, … cannot
// overwrite one that is still needed.
//
//go:nosplit
//go:norace
func (c *child) arrangeFiles() {
	c.dup(c.report, c.free+1, unix.O_CLOEXEC)
	c.report = c.free + 1
	if c.exe >= 0 {
		c.dup(c.exe, c.free, unix.O_CLOEXEC)
	}
	for i := range c.files {
		c.dup(c.files[i], c.free+2+i, unix.O_CLOEXEC)
	}
	for i := range c.files {
		c.dup(c.free+2+i, i, 0)
	}
}

// keepFiles closes what exec would close: the parent's files, and last the report, whose end says that all went well. The
// executable stays, behind the program's own.
//
//go:nosplit
//go:norace
func (c *child) keepFiles() {
	last := len(c.files)
	if c.exe >= 0 {
		c.dup(c.free, last, unix.O_CLOEXEC)
		last++
	}
	c.dup(c.report, last, unix.O_CLOEXEC)
	c.report = last
	if _, _, err := syscall.RawSyscall(unix.SYS_CLOSE_RANGE, uintptr(last+1), 1<<31-1, 0); err != 0 {
		c.fail(stepFiles, err)
	}
	syscall.RawSyscall(unix.SYS_CLOSE, uintptr(last), 0, 0)
}

//go:nosplit
//go:norace
func (c *child) dup(from, to, flags int) {
	if _, _, err := syscall.RawSyscall(unix.SYS_DUP3, uintptr(from), uintptr(to), uintptr(flags)); err != 0 {
		c.fail(stepFiles, err)
	}
}

//go:nosplit
//go:norace
func (c *child) fail(s step, err syscall.Errno) {
	c.say(s, uint32(err))
	c.exit()
}

//go:nosplit
//go:norace
func (c *child) say(s step, value uint32) {
	c.out.step, c.out.value = s, value
	syscall.RawSyscall(unix.SYS_WRITE, uintptr(c.report), uintptr(unsafe.Pointer(&c.out)), unsafe.Sizeof(c.out))
}

//go:nosplit
//go:norace
func (c *child) exit() {
	for {
		syscall.RawSyscall(unix.SYS_EXIT_GROUP, 253, 0, 0)
	}
}
