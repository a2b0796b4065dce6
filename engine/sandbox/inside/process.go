package inside

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"naru/engine/sandbox/program"
)

// setRlimit goes through package syscall, which then knows that the limit of open files is not to be put back at exec
// to what it was when this program started.
func setRlimit(o *program.Op) error {
	var lim syscall.Rlimit
	resource := int(o.Args[0])
	if len(o.Args) == 2 {
		if err := syscall.Getrlimit(resource, &lim); err != nil {
			return fail(o.Data, err)
		}
		lim.Cur = min(o.Args[1], lim.Max)
	} else {
		lim = syscall.Rlimit{Cur: o.Args[1], Max: o.Args[2]}
	}
	return fail(o.Data, syscall.Setrlimit(resource, &lim))
}

func loadSeccomp(o *program.Op) error {
	_, err := seccomp(o)
	return err
}

// seccomp loads a filter, and returns the descriptor of its notifications when its flags ask for one.
func seccomp(o *program.Op) (int, error) {
	const size = int(unsafe.Sizeof(unix.SockFilter{}))
	if len(o.Bytes) == 0 || len(o.Bytes)%size != 0 {
		return -1, fail("filter", unix.EINVAL)
	}
	prog := unix.SockFprog{
		Len:    uint16(len(o.Bytes) / size),
		Filter: (*unix.SockFilter)(unsafe.Pointer(&o.Bytes[0])),
	}
	fd, _, errno := syscall.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, uintptr(o.Flags), uintptr(unsafe.Pointer(&prog)))
	if errno != 0 {
		return -1, fail("filter", errno)
	}
	return int(fd), nil
}

// notify loads a filter and hands its notifications to who listens for them: the next system call may need an answer.
func (m *machine) notify(o *program.Op) error {
	agent, err := m.file(o)
	if err != nil {
		return err
	}
	fd, err := seccomp(o)
	if err != nil {
		return err
	}
	if err := unix.Sendmsg(agent, []byte(o.Data), unix.UnixRights(fd), nil, 0); err != nil {
		return fail("send the notifications", err)
	}
	return fail("the listener", unix.Close(agent)) // it waits for the end of what is said
}

func dropBounding(keep uint64) error {
	for c := uintptr(0); c < 64; c++ {
		if keep&(1<<c) != 0 {
			continue
		}
		err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0)
		if err == unix.EINVAL && c > 0 {
			return nil // above the kernel's last capability
		}
		if err != nil {
			return fail("bounding set", err)
		}
	}
	return nil
}

// setUser changes ids of this thread with raw calls (package syscall's change every thread, which the kernel would
// undo at exec anyway). Capabilities are kept for setCaps; a death signal is armed again, since the kernel forgets it.
func setUser(o *program.Op) error {
	var deathSignal int32
	if err := unix.Prctl(unix.PR_GET_PDEATHSIG, uintptr(unsafe.Pointer(&deathSignal)), 0, 0, 0); err != nil {
		return fail("death signal", err)
	}
	syscall.Umask(int(o.Args[0]))
	if err := unix.Prctl(unix.PR_SET_KEEPCAPS, 1, 0, 0, 0); err != nil {
		return fail("keep capabilities", err)
	}
	if err := setIDs(uintptr(o.Args[1]), uintptr(o.Args[2]), o.Args[3:]); err != nil {
		return err
	}
	if err := unix.Prctl(unix.PR_SET_KEEPCAPS, 0, 0, 0, 0); err != nil {
		return fail("keep capabilities", err)
	}
	return fail("death signal", unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(deathSignal), 0, 0, 0))
}

func setIDs(uid, gid uintptr, more []uint64) error {
	groups := make([]uint32, len(more)+1)
	for i, g := range more {
		groups[i] = uint32(g)
	}
	_, _, errno := syscall.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(more)), uintptr(unsafe.Pointer(&groups[0])), 0)
	// Where an ordinary user mapped the ids alone, the kernel lets nobody change groups: to want none is no error there.
	if errno != 0 && !(errno == unix.EPERM && len(more) == 0) {
		return fail("groups", errno)
	}
	if _, _, errno := syscall.RawSyscall(unix.SYS_SETRESGID, gid, gid, gid); errno != 0 {
		return fail("gid", errno)
	}
	if _, _, errno := syscall.RawSyscall(unix.SYS_SETRESUID, uid, uid, uid); errno != 0 {
		return fail("uid", errno)
	}
	return nil
}

func setCaps(o *program.Op) error {
	effective, permitted, inheritable, ambient := o.Args[0], o.Args[1], o.Args[2], o.Args[3]
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	data := [2]unix.CapUserData{
		{Effective: uint32(effective), Permitted: uint32(permitted), Inheritable: uint32(inheritable)},
		{Effective: uint32(effective >> 32), Permitted: uint32(permitted >> 32), Inheritable: uint32(inheritable >> 32)},
	}
	if err := unix.Capset(&header, &data[0]); err != nil {
		return fail("capset", err)
	}
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return fail("clear the ambient set", err)
	}
	for c := uintptr(0); c < 64; c++ {
		if ambient&(1<<c) == 0 {
			continue
		}
		if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, c, 0, 0); err != nil {
			return fail("ambient set", err)
		}
	}
	return nil
}

// enterCwd enters the folder with the user's rights, and makes sure that it is one of the container's.
func enterCwd(p string) error {
	if err := unix.Chdir(p); err != nil {
		return fail(p, err)
	}
	var buf [unix.PathMax]byte
	n, err := unix.Getcwd(buf[:])
	if err == nil && (n == 0 || buf[0] != '/') {
		err = unix.EXDEV // "(unreachable)": outside the root
	}
	return fail(p, err)
}
