package network

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"naru/naru"
)

// Way is how a request gets to one port of a container: the hops that the kernel has for it now, in their order.
type Way struct {
	Port     uint16 // in the container; zero: none is known
	Protocol string
	Hops     []Hop
}

// Hop is one station of a Way.
type Hop struct {
	Kind    HopKind
	Name    string // of the interface, the chain of rules, or the process
	Index   int    // of an interface
	Text    string // what the kernel says about it
	Missing bool   // it is not there: a request ends here, and Text says why
	Count   *Count // of a rule
}

// Count is what a rule has seen. A rule that translates addresses sees each connection once.
type Count struct{ Connections, Bytes uint64 }

// HopKind tells the stations apart.
type HopKind string

// The stations of a way, from the outside in.
const (
	HopHost    HopKind = "host"    // the interface and the port of the host where a request comes in
	HopRule    HopKind = "rule"    // the rule of nftables that leads to the container
	HopBridge  HopKind = "bridge"  // the network
	HopTrunk   HopKind = "trunk"   // the pair that joins a large network's bridges
	HopVeth    HopKind = "veth"    // the host's end of the pair
	HopInside  HopKind = "inside"  // the container's end of the pair
	HopProcess HopKind = "process" // who listens
)

// Subject is the container whose ways are asked for. Everything else is read from the kernel.
type Subject struct {
	PID      int    // of a process in it
	Port     uint16 // zero: every port that is published or listened on
	Protocol string // with a Port
}

// Ways reads from the kernel how requests reach a container: nothing is taken from what this daemon believes.
func (m *Manager) Ways(ctx context.Context, s Subject) ([]Way, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	w, err := m.look(s)
	if err != nil {
		return nil, fmt.Errorf("read the way of a request: %w", err)
	}
	return w.ways(), nil
}

// view is what the kernel holds around one container at one moment.
type view struct {
	subject   Subject
	host      []link // all interfaces of the host
	uplink    int    // index of the one with the default route
	inside    []link // all interfaces of the container
	shared    bool   // the container has the host's own network
	rules     []translation
	listeners []listener
}

// link is an interface with its addresses.
type link struct {
	netlink.Link
	addrs []netip.Prefix
}

func (l link) name() string { return l.Attrs().Name }
func (l link) index() int   { return l.Attrs().Index }
func (l link) up() bool     { return l.Attrs().OperState == netlink.OperUp }

func (l link) has(a netip.Addr) bool {
	return slices.ContainsFunc(l.addrs, func(p netip.Prefix) bool { return p.Addr() == a })
}

// state is the addresses by which the interface can be reached from beyond its link, and whether packets pass.
func (l link) state() string {
	var words []string
	for _, a := range l.addrs {
		if !a.Addr().IsLinkLocalUnicast() {
			words = append(words, a.String())
		}
	}
	return strings.Join(append(words, l.Attrs().OperState.String()), ", ")
}

func (m *Manager) look(s Subject) (v view, err error) {
	v.subject = s
	ns, err := os.Open("/proc/" + strconv.Itoa(s.PID) + "/ns/net")
	if err != nil {
		return v, fmt.Errorf("open the container's network namespace: %w", err)
	}
	defer func() { _ = ns.Close() }() // only entered
	if v.shared, err = sameFile(ns, "/proc/thread-self/ns/net"); err != nil {
		return v, err
	}
	if v.host, err = links(); err != nil {
		return v, err
	}
	if v.uplink, err = uplinkIndex(); err != nil {
		return v, err
	}
	if err := inNetNS(ns, func() (err error) { v.inside, err = links(); return err }); err != nil {
		return v, err
	}
	if v.rules, err = m.translations(); err != nil {
		return v, err
	}
	v.listeners, err = listenersOf(s.PID)
	return v, err
}

func sameFile(f *os.File, path string) (bool, error) {
	a, err := f.Stat()
	if err != nil {
		return false, err
	}
	b, err := os.Stat(path)
	return err == nil && os.SameFile(a, b), err
}

// links lists the interfaces of the thread's namespace.
func links() ([]link, error) {
	all, err := dump(netlink.LinkList)
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	addrs, err := dump(func() ([]netlink.Addr, error) { return netlink.AddrList(nil, netlink.FAMILY_ALL) })
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	out := make([]link, len(all))
	for i, l := range all {
		out[i].Link = l
		for _, a := range addrs {
			if p, ok := prefixOf(a.IPNet); ok && a.LinkIndex == l.Attrs().Index {
				out[i].addrs = append(out[i].addrs, p)
			}
		}
	}
	return out, nil
}

// uplinkIndex finds the interface by which the host reaches the world; zero when it does not. It asks for the way to
// an address that is nobody's: the list of all routes has several for each container.
func uplinkIndex() (int, error) {
	for _, world := range []string{"192.0.2.1", "2001:db8::1"} {
		routes, err := netlink.RouteGet(net.ParseIP(world))
		if err == nil && len(routes) > 0 && routes[0].Type == unix.RTN_UNICAST { // else the address is somebody's here
			return routes[0].LinkIndex, nil
		}
		if err != nil && !isNoRoute(err) {
			return 0, fmt.Errorf("look for the way to the world: %w", err)
		}
	}
	return 0, nil
}

// isNoRoute reports what the kernel says when no route leads there, or one that says so, or there is no such protocol.
func isNoRoute(err error) bool {
	return slices.ContainsFunc([]error{unix.ENETUNREACH, unix.EHOSTUNREACH, unix.EACCES, unix.EINVAL, unix.EOPNOTSUPP, unix.EAFNOSUPPORT},
		func(no error) bool { return errors.Is(err, no) })
}

// ways are one for each rule that leads to the container, and one for each port without a rule.
func (v view) ways() []Way {
	var out []Way
	known := map[string]bool{}
	for _, r := range v.rules {
		if _, ours := v.insideWith(r.to.Addr()); ours && !v.shared && v.wanted(r.to.Port(), r.protocol) {
			out = append(out, v.publishedWay(r))
			known[portText(r.to.Port(), r.protocol)] = true
		}
	}
	for _, l := range v.listeners {
		if name := portText(l.addr.Port(), l.protocol); !known[name] && v.wanted(l.addr.Port(), l.protocol) {
			out = append(out, v.plainWay(l.addr.Port(), l.protocol))
			known[name] = true
		}
	}
	if len(out) == 0 {
		out = append(out, v.plainWay(v.subject.Port, v.subject.Protocol))
	}
	return out
}

func (v view) wanted(port uint16, protocol string) bool {
	return v.subject.Port == 0 || v.subject.Port == port && v.subject.Protocol == protocol
}

func portText(port uint16, protocol string) string { return fmt.Sprintf("%d/%s", port, protocol) }

// publishedWay goes by a rule.
func (v view) publishedWay(r translation) Way {
	way := Way{Port: r.to.Port(), Protocol: r.protocol}
	way.Hops = append(way.Hops, v.entry(r), Hop{Kind: HopRule, Name: r.chain, Text: r.String(), Count: r.count})
	way.Hops = append(way.Hops, v.lastHops(r.to.Addr(), way.Port, r.protocol)...)
	return way
}

// plainWay is that of a port which nobody published: its neighbours and the host itself reach it.
func (v view) plainWay(port uint16, protocol string) Way {
	way := Way{Port: port, Protocol: protocol}
	if v.shared {
		way.Hops = []Hop{v.anyEntry(port, protocol, false), v.listening(netip.Addr{}, port, protocol)}
		return way
	}
	way.Hops = []Hop{{Kind: HopRule, Missing: true, Text: "no rule leads here from a port of the host: only neighbours and the host itself reach it"}}
	way.Hops = append(way.Hops, v.lastHops(v.firstAddr(), port, protocol)...)
	return way
}

// firstAddr is the container's first address that others can reach.
func (v view) firstAddr() netip.Addr {
	for _, l := range v.inside {
		for _, a := range l.addrs {
			if !a.Addr().IsLoopback() && !a.Addr().IsLinkLocalUnicast() {
				return a.Addr()
			}
		}
	}
	return netip.Addr{}
}

// entry is where requests for a rule come in.
func (v view) entry(r translation) Hop {
	switch {
	case r.from.port == 0:
		return Hop{Kind: HopHost, Missing: true, Text: "no port of the host leads to the rule"}
	case !r.from.ip.IsValid():
		return v.anyEntry(r.from.port, r.protocol, r.to.Addr().Is6())
	}
	for _, l := range v.host {
		if l.has(r.from.ip) || l.Attrs().Name == "lo" && r.from.ip.IsLoopback() {
			return Hop{Kind: HopHost, Name: l.name(), Index: l.index(), Text: r.from.String()}
		}
	}
	return Hop{Kind: HopHost, Missing: true, Text: r.from.ip.String() + " is no address of this host"}
}

// anyEntry stands for all of the host's interfaces: it shows the one towards the world.
func (v view) anyEntry(port uint16, protocol string, six bool) Hop {
	up, ok := v.hostLink(v.uplink)
	for _, a := range up.addrs {
		if ok && a.Addr().Is6() == six {
			return Hop{Kind: HopHost, Name: up.name(), Index: up.index(),
				Text: portKey{a.Addr(), protocol, port}.String() + ", and every other address of the host"}
		}
	}
	return Hop{Kind: HopHost, Name: "lo", Index: 1, Text: portKey{port: port, protocol: protocol}.String() + " of every address of the host; it has no default route"}
}

// lastHops lead from the network to the process.
func (v view) lastHops(addr netip.Addr, port uint16, protocol string) []Hop {
	in, ok := v.insideWith(addr)
	if !ok {
		return []Hop{{Kind: HopInside, Missing: true, Text: "the container has no interface that others can reach"}, v.listening(addr, port, protocol)}
	}
	end, bridges := v.outside(in, addr)
	return append(bridges, end, Hop{Kind: HopInside, Name: in.name(), Index: in.index(), Text: in.state(), Missing: !in.up()},
		v.listening(addr, port, protocol))
}

func (v view) insideWith(a netip.Addr) (link, bool) {
	i := slices.IndexFunc(v.inside, func(l link) bool { return l.has(a) && !a.IsLoopback() })
	if i < 0 {
		return link{}, false
	}
	return v.inside[i], true
}

// outside is the other end of the pair of an address, and the bridges on the way to it.
func (v view) outside(in link, addr netip.Addr) (end Hop, bridges []Hop) {
	end = Hop{Kind: HopVeth, Missing: true, Text: in.name() + " has no other end on this host"}
	bridges = []Hop{{Kind: HopBridge, Missing: true, Text: "the pair is on no bridge"}}
	out, ok := v.hostLink(in.Attrs().ParentIndex)
	if !ok || out.Type() != "veth" || out.Attrs().ParentIndex != in.index() {
		return end, bridges
	}
	if b, ok := v.hostLink(out.Attrs().MasterIndex); ok {
		bridges = v.bridgesTo(b, addr)
	}
	return out.hop(HopVeth), bridges
}

func (l link) hop(kind HopKind) Hop {
	return Hop{Kind: kind, Name: l.name(), Index: l.index(), Text: l.state(), Missing: !l.up()}
}

// bridgesTo is a bridge, after the one where the host is a neighbour of the address and the trunk between them, if that
// is another one.
func (v view) bridgesTo(b link, addr netip.Addr) []Hop {
	neighbour := func(p netip.Prefix) bool { return p.Contains(addr) }
	if slices.ContainsFunc(b.addrs, neighbour) {
		return []Hop{b.hop(HopBridge)}
	}
	for _, far := range v.host {
		near, ok := v.hostLink(far.Attrs().ParentIndex)
		if far.Attrs().MasterIndex != b.index() || far.Attrs().NetNsID >= 0 || !ok || near.Attrs().ParentIndex != far.index() {
			continue
		}
		if first, ok := v.hostLink(near.Attrs().MasterIndex); ok && slices.ContainsFunc(first.addrs, neighbour) {
			trunk := near.hop(HopTrunk)
			trunk.Missing = trunk.Missing || !far.up()
			return []Hop{first.hop(HopBridge), trunk, b.hop(HopBridge)}
		}
	}
	return []Hop{{Kind: HopTrunk, Missing: true, Text: "bridge " + b.name() + " has no address of " + addr.String() + "'s network, nor a trunk to one that has"}, b.hop(HopBridge)}
}

func (v view) hostLink(index int) (link, bool) {
	i := slices.IndexFunc(v.host, func(l link) bool { return l.index() == index })
	if i < 0 || index == 0 {
		return link{}, false
	}
	return v.host[i], true
}

// listening is who takes what comes to the port at the address.
func (v view) listening(addr netip.Addr, port uint16, protocol string) Hop {
	elsewhere := ""
	for _, l := range v.listeners {
		if l.protocol != protocol || l.addr.Port() != port {
			continue
		}
		if addr.IsValid() && !l.takes(addr) {
			elsewhere = l.addr.String()
			continue
		}
		return Hop{Kind: HopProcess, Name: l.process(), Text: "listens on " + l.addr.String() + "/" + protocol}
	}
	switch {
	case elsewhere != "":
		return Hop{Kind: HopProcess, Missing: true, Text: fmt.Sprintf("a process listens on %s only, not on %s", elsewhere, addr)}
	case port == 0:
		return Hop{Kind: HopProcess, Missing: true, Text: "nobody listens on any port"}
	}
	return Hop{Kind: HopProcess, Missing: true, Text: "nobody listens on port " + portText(port, protocol)}
}

// ParsePort reads "80" or "53/udp".
func ParsePort(s string) (port uint16, protocol string, err error) {
	number, protocol, given := strings.Cut(s, "/")
	if !given {
		protocol = "tcp"
	}
	n, err := strconv.ParseUint(number, 10, 16)
	if err != nil || n == 0 || protocol != "tcp" && protocol != "udp" {
		return 0, "", naru.Errorf(naru.InvalidArgument, "port %q: write a number from 1 to 65535, with /udp behind it for UDP", s)
	}
	return uint16(n), protocol, nil
}
