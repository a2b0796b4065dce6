package peer

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"

	"golang.org/x/sys/unix"
)

// NetNS is a network namespace. One that was made here lives as long as it is open or something runs in it: nothing has
// to be removed from it.
type NetNS struct{ file *os.File }

// NewNetNS makes a namespace with nothing but its loopback, which is up.
func NewNetNS() (*NetNS, error) {
	n := &NetNS{}
	err := onThread(func() (err error) {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("make a network namespace: %w", err)
		}
		n.file, err = os.Open("/proc/thread-self/ns/net")
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := n.IP("link", "set", "lo", "up"); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

// NetNSOf opens the one that a process is in.
func NetNSOf(pid int) (*NetNS, error) {
	file, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", pid))
	return &NetNS{file}, err
}

// Close lets go of it.
func (n *NetNS) Close() error { return n.file.Close() }

// Path names it to other programs.
func (n *NetNS) Path() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), n.file.Fd()) }

// Do calls f in the namespace: sockets that f opens and processes that it starts are there.
func (n *NetNS) Do(f func() error) error {
	if n == nil {
		return f()
	}
	return onThread(func() error {
		if err := unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter a network namespace: %w", err)
		}
		return f()
	})
}

// IP runs iproute2's ip there.
func (n *NetNS) IP(args ...string) error {
	return n.Do(func() error { return quiet(exec.Command("ip", args...)) })
}

// Wire joins two namespaces by a veth pair: its ends are called as said, and have these addresses, with a prefix length.
func Wire(a *NetNS, nameA, addrA string, b *NetNS, nameB, addrB string) error {
	return errors.Join(
		a.IP("link", "add", nameA, "type", "veth", "peer", "name", nameB, "netns", b.Path()),
		a.IP("addr", "add", addrA, "dev", nameA), a.IP("link", "set", nameA, "up"),
		b.IP("addr", "add", addrB, "dev", nameB), b.IP("link", "set", nameB, "up"))
}

// onThread calls f on a thread that nobody uses afterwards.
func onThread(f func() error) error {
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with this goroutine
		result <- f()
	}()
	return <-result
}
