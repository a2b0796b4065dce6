package engine

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"golang.org/x/sys/unix"

	"naru/engine/network"
	"naru/naru"
)

// HostNetwork asks for the host's own network namespace; a container is then as reachable as any process of the host.
const HostNetwork = "host"

// containerNetwork before the name of a running container asks for that one's network namespace.
const containerNetwork = "container:"

// Join asks for a place on a network.
type Join struct {
	Network string     `json:"network"`
	IP      netip.Addr `json:"ip,omitzero"`       // zero: the next free one
	MAC     string     `json:"mac,omitempty"`     // empty: derived from the address
	Aliases []string   `json:"aliases,omitempty"` // more names under which the network knows the container
}

// Endpoint is a running container's place on a network.
type Endpoint struct {
	Network   string     `json:"network"`
	Interface string     `json:"interface"`
	Addr      netip.Addr `json:"addr"`
	Addr6     netip.Addr `json:"addr6,omitzero"`
}

// joins are the places that the container is to have, that of its first interface first; none without a network
// namespace of its own, or with nothing in it.
func (s ContainerSpec) joins() []Join {
	if s.Network == NoNetwork || s.Network == HostNetwork || strings.HasPrefix(s.Network, containerNetwork) {
		return nil
	}
	first := Join{Network: firstOf(s.Network, DefaultNetwork), IP: s.IP, MAC: s.MAC, Aliases: s.Aliases}
	return append([]Join{first}, s.Networks...)
}

// setJoins is the opposite of joins.
func (s *ContainerSpec) setJoins(joins []Join) {
	s.Network, s.IP, s.MAC, s.Aliases, s.Networks = NoNetwork, netip.Addr{}, "", nil, nil
	if len(joins) > 0 {
		first := joins[0]
		s.Network, s.IP, s.MAC, s.Aliases = first.Network, first.IP, first.MAC, first.Aliases
		s.Networks = slices.Clone(joins[1:])
	}
}

func (s ContainerSpec) joinOn(name string) (Join, bool) {
	joins := s.joins()
	i := slices.IndexFunc(joins, func(j Join) bool { return j.Network == name })
	if i < 0 {
		return Join{}, false
	}
	return joins[i], true
}

// AliasesOn are the further names that the container asks for on a network.
func (s ContainerSpec) AliasesOn(name string) []string {
	j, _ := s.joinOn(name)
	return j.Aliases
}

// NetworkNames are the networks that the container is to be on.
func (s ContainerSpec) NetworkNames() []string {
	var names []string
	for _, j := range s.joins() {
		names = append(names, j.Network)
	}
	return names
}

// checkNetwork refuses what contradicts itself.
func (s ContainerSpec) checkNetwork() error {
	alone := len(s.joins()) == 0
	switch {
	case alone && (s.IP.IsValid() || s.MAC != "" || len(s.Aliases) > 0 || len(s.Networks) > 0):
		return naru.Errorf(naru.InvalidArgument, "network %s: it has no address, MAC address, alias or further network to give", s.Network)
	case alone && len(s.Ports) > 0:
		return naru.Errorf(naru.InvalidArgument, "network %s: no port can be published to a container without an address of its own", s.Network)
	}
	seen := map[string]bool{}
	for _, j := range s.joins() {
		if seen[j.Network] {
			return naru.Errorf(naru.InvalidArgument, "network %s is named twice", j.Network)
		}
		seen[j.Network] = true
		if err := j.check(); err != nil {
			return err
		}
	}
	for _, h := range s.Hosts {
		if _, _, err := parseHost(h); err != nil {
			return err
		}
	}
	return nil
}

func (j Join) check() error {
	if j.IP.IsValid() && !j.IP.Is4() {
		return naru.Errorf(naru.InvalidArgument, "address %s: give an IPv4 address; that of IPv6 follows from it", j.IP)
	}
	if _, err := parseMAC(j.MAC); err != nil {
		return err
	}
	for _, a := range j.Aliases {
		if !validName.MatchString(a) {
			return naru.Errorf(naru.InvalidArgument, "network alias %q: use letters, digits, '_', '.' and '-'", a)
		}
	}
	return nil
}

// parseMAC reads a MAC address for one interface; empty is none.
func parseMAC(s string) (net.HardwareAddr, error) {
	if s == "" {
		return nil, nil
	}
	mac, err := net.ParseMAC(s)
	if err != nil || len(mac) != 6 || mac[0]&1 != 0 {
		return nil, naru.Errorf(naru.InvalidArgument, "MAC address %q: write six bytes such as 02:42:ac:11:00:02, the first of them even", s)
	}
	return mac, nil
}

// parseHost reads NAME:ADDRESS; the address host-gateway is the host's on the container's network.
func parseHost(s string) (name, addr string, err error) {
	name, addr, ok := strings.Cut(s, ":")
	addr = strings.Trim(addr, "[]")
	isOdd := strings.ContainsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || r == '#' }) // a zone of IPv6 may be, too
	if _, bad := netip.ParseAddr(addr); !ok || name == "" || isOdd || bad != nil && addr != hostGateway {
		return "", "", naru.Errorf(naru.InvalidArgument, "host %q: write NAME:ADDRESS, such as db:10.0.0.5 or host:host-gateway", s)
	}
	return name, addr, nil
}

const hostGateway = "host-gateway"

// endpoints are the container's places. One that an older daemon started has a first only.
func (c Container) endpoints() []Endpoint {
	if len(c.Endpoints) == 0 && c.Addr.IsValid() {
		return []Endpoint{{Network: firstOf(c.Spec.Network, DefaultNetwork), Interface: "eth0", Addr: c.Addr}}
	}
	return c.Endpoints
}

// Addr6 is the container's IPv6 address on its first network; zero without.
func (c Container) Addr6() netip.Addr {
	if at := c.endpoints(); len(at) > 0 {
		return at[0].Addr6
	}
	return netip.Addr{}
}

// setEndpoints keeps Addr what it is: the address of the first.
func (c *Container) setEndpoints(at []Endpoint) {
	c.Endpoints, c.Addr = at, netip.Addr{}
	if len(at) > 0 {
		c.Addr = at[0].Addr
	}
}

// assignAddr picks free addresses on the container's networks and ports of the host, and takes them in memory at once.
func (e *Engine) assignAddr(ctx context.Context, en *entry, c *Container) error {
	joins := c.Spec.joins()
	networks := make([]network.Network, len(joins))
	for i, j := range joins {
		var err error
		if networks[i], err = e.EnsureNetwork(ctx, j.Network); err != nil {
			return err
		}
	}
	ports, err := e.choosePorts(c.ID, c.Spec.Ports)
	if err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	at := make([]Endpoint, len(joins))
	for i, j := range joins {
		if at[i], err = e.place(c.ID, networks[i], j, fmt.Sprintf("eth%d", i)); err != nil {
			return fmt.Errorf("find an address for %s: %w", c.Name, err)
		}
	}
	c.setEndpoints(at)
	c.Ports = ports
	now := en.c
	now.setEndpoints(at)
	now.Ports = ports
	e.follow(en, now)
	return nil
}

// place chooses the addresses for a container's place on a network. The caller holds e.mu.
func (e *Engine) place(id string, n network.Network, j Join, iface string) (at Endpoint, err error) {
	at = Endpoint{Network: n.Name, Interface: iface, Addr: j.IP}
	taken := e.addrTaken(id)
	switch {
	case !j.IP.IsValid():
		at.Addr, err = network.AllocateAddr(n, taken)
	case !n.HasRoomFor(j.IP):
		err = naru.Errorf(naru.InvalidArgument, "%s is not an address for a container in network %s (%s)", j.IP, n.Name, n.Subnet)
	case taken(j.IP):
		err = naru.Errorf(naru.Conflict, "address %s in network %s is taken by another container", j.IP, n.Name)
	}
	at.Addr6 = n.Addr6(at.Addr)
	return at, err
}

// attacher gives a container that is being made its places.
func (e *Engine) attacher(c Container) func(ctx context.Context, netns *os.File) error {
	if len(c.Endpoints) == 0 {
		return nil
	}
	return func(ctx context.Context, netns *os.File) error {
		led := false
		for _, at := range c.Endpoints {
			n, err := e.Network(at.Network)
			if err != nil {
				return err
			}
			if err := e.joinNetwork(ctx, c, at, n.Network, led, netns); err != nil {
				return err
			}
			led = led || !n.Internal
		}
		return nil
	}
}

// joinNetwork makes one place; with led another is the way to the world.
func (e *Engine) joinNetwork(ctx context.Context, c Container, at Endpoint, n network.Network, led bool, netns *os.File) error {
	j, _ := c.Spec.joinOn(at.Network)
	mac, err := parseMAC(j.MAC)
	if err != nil {
		return err
	}
	return e.net.Attach(ctx, n, network.Endpoint{ID: c.ID, Interface: at.Interface, Addr: at.Addr, Addr6: at.Addr6,
		MAC: mac, Side: led, NetNS: netns})
}

// openNetNS opens a running container's network namespace, and makes sure that it was that one's. The caller holds
// en.op.
func (e *Engine) openNetNS(en *entry) (*os.File, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if en.pidfd == nil {
		return nil, naru.Errorf(naru.FailedPrecondition, "container %s does not run", en.c.Name)
	}
	ns, err := os.Open("/proc/" + strconv.Itoa(en.c.PID) + "/ns/net")
	if err != nil {
		return nil, fmt.Errorf("open the network namespace of %s: %w", en.c.Name, err)
	}
	if err := unix.PidfdSendSignal(int(en.pidfd.Fd()), 0, nil, 0); err != nil { // the pid may have become another's
		_ = ns.Close()
		return nil, fmt.Errorf("open the network namespace of %s: %w", en.c.Name, err)
	}
	return ns, nil
}
