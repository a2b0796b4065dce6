package inside

import (
	"golang.org/x/sys/unix"

	"naru/engine/sandbox/program"
)

// console opens a terminal of the container's own devpts, sends the master to the daemon, and makes the other side
// the controlling terminal and 0, 1, 2.
func (m *machine) console(o *program.Op) error {
	master, err := m.open("/dev/pts/ptmx", unix.O_RDWR|unix.O_NOCTTY)
	if err != nil {
		return fail("/dev/pts/ptmx", err)
	}
	defer unix.Close(master)
	slave, err := openPeer(master)
	if err != nil {
		return fail("/dev/pts/ptmx", err)
	}
	defer unix.Close(slave)
	if err := resize(master, o.Args); err != nil {
		return fail("size of the terminal", err)
	}
	if err := m.bindConsole(slave, o.Path); err != nil {
		return err
	}
	rights := unix.UnixRights(master)
	if err := unix.Sendmsg(m.sock, []byte{program.MsgConsole}, rights, nil, 0); err != nil {
		return fail("send the terminal", err)
	}
	return takeTerminal(slave)
}

func openPeer(master int) (int, error) {
	if err := unix.IoctlSetPointerInt(master, unix.TIOCSPTLCK, 0); err != nil {
		return -1, err
	}
	r, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(master), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
	if errno != 0 {
		return -1, errno
	}
	return int(r), nil
}

func resize(master int, size []uint64) error {
	if len(size) != 2 || size[0] == 0 && size[1] == 0 {
		return nil
	}
	return unix.IoctlSetWinsize(master, unix.TIOCSWINSZ, &unix.Winsize{Row: uint16(size[0]), Col: uint16(size[1])})
}

// bindConsole puts the terminal at p, where programs look for a console.
func (m *machine) bindConsole(slave int, p string) error {
	if p == "" {
		return nil
	}
	target, err := m.openFile(p)
	if err != nil {
		return fail(p, err)
	}
	defer unix.Close(target)
	clone, err := unix.OpenTree(slave, "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH)
	if err != nil {
		return fail(p, err)
	}
	defer unix.Close(clone)
	return fail(p, moveOnto(clone, target))
}

func takeTerminal(slave int) error {
	_, _ = unix.Setsid() // fails when it leads a session already, which is as good
	if err := unix.IoctlSetInt(slave, unix.TIOCSCTTY, 0); err != nil {
		return fail("controlling terminal", err)
	}
	for fd := range 3 {
		if err := unix.Dup3(slave, fd, 0); err != nil {
			return fail("terminal", err)
		}
	}
	return nil
}
