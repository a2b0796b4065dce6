package netdev

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// place is a network namespace.
type place struct {
	*netlink.Handle
	file   *os.File
	socket *nl.NetlinkSocket
}

func openPlace(path string) (*place, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open the network namespace: %w", err)
	}
	handle, err := netlink.NewHandleAt(netns.NsHandle(file.Fd()), unix.NETLINK_ROUTE)
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("talk to the network namespace: %w", err)
	}
	socket, err := nl.GetNetlinkSocketAt(netns.NsHandle(file.Fd()), netns.None(), unix.NETLINK_ROUTE)
	if err != nil {
		handle.Close()
		file.Close()
		return nil, fmt.Errorf("talk to the network namespace: %w", err)
	}
	return &place{handle, file, socket}, nil
}

func (p *place) close() error {
	p.Handle.Close()
	p.socket.Close()
	return p.file.Close()
}

// send moves a device to another namespace under a name, and returns it as it is there. Only one message can say both: a
// device whose name is taken there cannot move first and be named later. With an error a device too says that it has
// moved all the same, under another name.
func (p *place) send(link netlink.Link, to *place, name string) (netlink.Link, error) {
	before, err := to.links()
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(before, func(l netlink.Link) bool { return l.Attrs().Name == name }) {
		return nil, fmt.Errorf("there is a device %s already: %w", name, unix.EEXIST)
	}
	message := nl.NewIfInfomsg(unix.AF_UNSPEC)
	message.Index = int32(link.Attrs().Index)
	request := nl.NewNetlinkRequest(unix.RTM_SETLINK, unix.NLM_F_ACK)
	request.Sockets = map[int]*nl.SocketHandle{unix.NETLINK_ROUTE: {Socket: p.socket}}
	request.AddData(message)
	request.AddData(nl.NewRtAttr(unix.IFLA_NET_NS_FD, nl.Uint32Attr(uint32(to.file.Fd()))))
	request.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(name)))
	_, sendErr := request.Execute(unix.NETLINK_ROUTE, 0)
	after, err := to.links()
	if err != nil {
		return nil, errors.Join(sendErr, err)
	}
	for _, l := range after {
		if !slices.ContainsFunc(before, func(b netlink.Link) bool { return b.Attrs().Index == l.Attrs().Index }) {
			return l, sendErr
		}
	}
	return nil, errors.Join(sendErr, unix.ENODEV)
}

// listTries bounds how often a list is asked for that changes while the kernel tells it.
const listTries = 20

func list[T any](ask func() (T, error)) (T, error) {
	for try := 1; ; try++ {
		got, err := ask()
		if try == listTries || !errors.Is(err, netlink.ErrDumpInterrupted) {
			return got, err
		}
	}
}

func (p *place) links() ([]netlink.Link, error) { return list(p.LinkList) }

// permanent are the addresses of a device that somebody gave it for good and that mean something outside its link.
func (p *place) permanent(link netlink.Link) ([]netlink.Addr, error) {
	all, err := list(func() ([]netlink.Addr, error) { return p.AddrList(link, netlink.FAMILY_ALL) })
	return slices.DeleteFunc(all, func(a netlink.Addr) bool {
		return a.Flags&unix.IFA_F_PERMANENT == 0 || a.Scope != unix.RT_SCOPE_UNIVERSE
	}), err
}

// address gives a device the addresses that it had under another name.
func (p *place) address(link netlink.Link, was string, addrs []netlink.Addr) error {
	for _, a := range addrs {
		a.Label = relabel(a.Label, was, link.Attrs().Name)
		if a.Broadcast == nil {
			a.Broadcast = net.IPv4zero // the library's word for none
		}
		if err := p.AddrAdd(link, &a); err != nil {
			return fmt.Errorf("give it the address %s: %w", a.IPNet, err)
		}
	}
	return nil
}

// relabel follows a change of a device's name in the label of an address, which is NAME or NAME:anything.
func relabel(label, was, is string) string {
	if rest, found := strings.CutPrefix(label, was); found {
		return is + rest
	}
	return ""
}
