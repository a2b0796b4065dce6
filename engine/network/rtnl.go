package network

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"
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
	return request{NetlinkRequest: r, what: what}
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
		err := c.answer(r)
		if err != nil && first == nil {
			first = fmt.Errorf("%s: %w", r.what, err)
		}
	}
	return first
}

// answer reads the acknowledgement of one request: they come in the order of the requests.
func (c conversation) answer(r request) error {
	var buf [1024]byte
	b, err := c.receive(buf[:], r.Seq)
	if err != nil {
		return err
	}
	return parseAck(b)
}

// receive reads into a buffer until there is the answer to the request of that number.
func (c conversation) receive(buf []byte, seq uint32) ([]byte, error) {
	for {
		n, _, err := unix.Recvfrom(c.fd, buf, 0)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return nil, fmt.Errorf("receive from netlink: %w", err)
		case n >= unix.SizeofNlMsghdr && binary.NativeEndian.Uint32(buf[8:]) == seq:
			return buf[:n], nil
		}
	}
}

// parseAck reads an NLMSG_ERROR message: header, error number, the request's header, attributes.
func parseAck(b []byte) error {
	const ack = unix.SizeofNlMsghdr + 4 + unix.SizeofNlMsghdr
	if len(b) < ack || binary.NativeEndian.Uint16(b[4:]) != unix.NLMSG_ERROR {
		return errNotAnAnswer
	}
	errno := -int32(binary.NativeEndian.Uint32(b[unix.SizeofNlMsghdr:]))
	if errno == 0 {
		return nil
	}
	attrs, _ := netlink.UnmarshalAttributes(b[ack:]) // unreadable ones: an error without its reason in words
	for _, a := range attrs {
		if a.Type == unix.NLMSGERR_ATTR_MSG {
			return fmt.Errorf("%w (%s)", unix.Errno(errno), unix.ByteSliceToString(a.Data))
		}
	}
	return unix.Errno(errno)
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

// operUp is RFC 2863's ifOperStatus "up", as Linux numbers it.
const operUp = 6

// errNotAnAnswer is of bytes that the kernel does not send.
var errNotAnAnswer = errors.New("netlink: not an answer to the question")

// settling is how long an interface gets to come up: the kernel looks at changed carriers at least once a second.
const settling = 2 * time.Second

// settle waits until an interface's carrier has come through: the kernel tells its other parts (the bridge, the queue)
// of it later, from a work queue, and drops packets meanwhile. Asking for the link's state as ethtool does makes it
// happen now, since Linux 6.8; before, the interface is asked until it says that it is up. One that does not come up is
// no error: its other end may be down.
func (c conversation) settle(name string) error {
	if err := c.syncCarrier(name); err != nil {
		return fmt.Errorf("wait for interface %s: %w", name, err)
	}
	for deadline := time.Now().Add(settling); ; time.Sleep(200 * time.Microsecond) {
		state, err := c.operState(name)
		if err != nil {
			return fmt.Errorf("wait for interface %s: %w", name, err)
		}
		if state == operUp || time.Now().After(deadline) {
			return nil
		}
	}
}

// syncCarrier asks for the link's state as ethtool does (ETHTOOL_GLINK).
func (c conversation) syncCarrier(name string) error {
	value := struct{ cmd, data uint32 }{cmd: unix.ETHTOOL_GLINK}
	ifr := struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte
	}{data: unsafe.Pointer(&value)}
	copy(ifr.name[:unix.IFNAMSIZ-1], name)
	if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(c.fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&ifr))); e != 0 && e != unix.EOPNOTSUPP {
		return e
	}
	return nil
}

// operState reads an interface's operational state (RFC 2863), which the kernel sets when it has told all its parts.
func (c conversation) operState(name string) (uint8, error) {
	const skipStats = 1 << 3 // RTEXT_FILTER_SKIP_STATS: they are half of the answer
	r := newRequest("get link", unix.RTM_GETLINK, 0, nl.NewIfInfomsg(unix.AF_UNSPEC),
		nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(name)), nl.NewRtAttr(unix.IFLA_EXT_MASK, nl.Uint32Attr(skipStats)))
	r.Flags &^= unix.NLM_F_ACK // the link is the answer
	if err := unix.Sendto(c.fd, r.Serialize(), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return 0, fmt.Errorf("send to netlink: %w", err)
	}
	b, err := c.receive(make([]byte, 8192), r.Seq)
	if err != nil {
		return 0, err
	}
	return parseOperState(b)
}

// parseOperState reads the operational state in an RTM_NEWLINK message: header, ifinfomsg, attributes. Anything else is
// an error that the kernel has with the request.
func parseOperState(b []byte) (uint8, error) {
	const link = unix.SizeofNlMsghdr + unix.SizeofIfInfomsg
	if len(b) < link || binary.NativeEndian.Uint16(b[4:]) != unix.RTM_NEWLINK {
		return 0, cmp.Or(parseAck(b), errNotAnAnswer)
	}
	attrs, err := netlink.UnmarshalAttributes(b[link:])
	if err != nil {
		return 0, fmt.Errorf("read link: %w", err)
	}
	for _, a := range attrs {
		if a.Type == unix.IFLA_OPERSTATE && len(a.Data) == 1 {
			return a.Data[0], nil
		}
	}
	return 0, errNotAnAnswer
}

// writeSysctl sets a value in /proc/sys/net of the thread's network namespace.
func writeSysctl(path, value string) error {
	if err := os.WriteFile("/proc/sys/net/"+path, []byte(value), 0); err != nil {
		return fmt.Errorf("set net.%s to %s: %w", path, value, err)
	}
	return nil
}
