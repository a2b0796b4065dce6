package network

import (
	"encoding/binary"
	"fmt"
	"os"
	"unsafe"

	"github.com/mdlayher/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// The hot path, Attach, does not go through a netlink library's one request, one answer: it sends several requests to
// the kernel in one system call. The kernel works through them in order, so the answers wait when the call returns.

// conversation is a route netlink socket of the namespace that its thread was in when it was opened.
type conversation struct{ fd int }

func openConversation() (conversation, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return conversation{}, fmt.Errorf("open netlink socket: %w", err)
	}
	// Answers with the reason in words, and without a copy of the request. Without both, errors are only less clear.
	_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_EXT_ACK, 1)
	_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, 1)
	return conversation{fd}, nil
}

func (c conversation) close() { _ = unix.Close(c.fd) }

// request is one message to the kernel and what to call it when it fails.
type request struct {
	*nl.NetlinkRequest
	what string
}

func newRequest(what string, proto, flags int, data ...nl.NetlinkRequestData) request {
	r := nl.NewNetlinkRequest(proto, flags|unix.NLM_F_ACK)
	for _, d := range data {
		r.AddData(d)
	}
	return request{r, what}
}

// say sends the requests at once and returns the first error among the answers. The kernel does not stop at an error.
func (c conversation) say(requests ...request) error {
	var out []byte
	for _, r := range requests {
		out = append(out, r.Serialize()...)
	}
	if err := unix.Sendto(c.fd, out, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("send to netlink: %w", err)
	}
	var first error
	for _, r := range requests {
		if err := c.answer(r); err != nil && first == nil {
			first = fmt.Errorf("%s: %w", r.what, err)
		}
	}
	return first
}

// answer reads the acknowledgement of one request: they come in the order of the requests.
func (c conversation) answer(r request) error {
	var buf [1024]byte
	for {
		n, _, err := unix.Recvfrom(c.fd, buf[:], 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return fmt.Errorf("receive from netlink: %w", err)
		}
		if seq, err := parseAck(buf[:n]); seq == r.Seq {
			return err
		}
	}
}

// parseAck reads an NLMSG_ERROR message: header, error number, the request's header, attributes.
func parseAck(b []byte) (seq uint32, err error) {
	const ack = unix.SizeofNlMsghdr + 4 + unix.SizeofNlMsghdr
	if len(b) < ack || binary.NativeEndian.Uint16(b[4:]) != unix.NLMSG_ERROR {
		return 0, nil
	}
	seq = binary.NativeEndian.Uint32(b[8:])
	errno := -int32(binary.NativeEndian.Uint32(b[unix.SizeofNlMsghdr:]))
	if errno == 0 {
		return seq, nil
	}
	err = unix.Errno(errno)
	attrs, _ := netlink.UnmarshalAttributes(b[ack:]) // unreadable ones: an error without its reason in words
	for _, a := range attrs {
		if a.Type == unix.NLMSGERR_ATTR_MSG {
			return seq, fmt.Errorf("%w (%s)", err, unix.ByteSliceToString(a.Data))
		}
	}
	return seq, err
}

// index asks for the number of an interface in the socket's namespace, with an ioctl that any socket takes.
func (c conversation) index(name string) (int, error) {
	ifr, err := unix.NewIfreq(name)
	if err != nil {
		return 0, fmt.Errorf("find interface %q: %w", name, err)
	}
	if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(c.fd), unix.SIOCGIFINDEX, uintptr(unsafe.Pointer(ifr))); e != 0 {
		return 0, fmt.Errorf("find interface %s: %w", name, e)
	}
	return int(ifr.Uint32()), nil
}

// settle waits until an interface's carrier has come through: the kernel tells its other parts (the bridge, the queue)
// of it later, from a work queue, and drops packets meanwhile. Asking for the link's state as ethtool does makes it
// happen now, since Linux 6.1; before, only soon.
func (c conversation) settle(name string) error {
	value := struct{ cmd, data uint32 }{cmd: unix.ETHTOOL_GLINK}
	ifr := struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte
	}{data: unsafe.Pointer(&value)}
	copy(ifr.name[:unix.IFNAMSIZ-1], name)
	if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(c.fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&ifr))); e != 0 && e != unix.EOPNOTSUPP {
		return fmt.Errorf("wait for interface %s: %w", name, e)
	}
	return nil
}

// writeSysctl sets a value in /proc/sys/net of the thread's network namespace.
func writeSysctl(path, value string) error {
	if err := os.WriteFile("/proc/sys/net/"+path, []byte(value), 0); err != nil {
		return fmt.Errorf("set net.%s to %s: %w", path, value, err)
	}
	return nil
}
