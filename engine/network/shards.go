package network

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"naru/naru"
)

// A Linux bridge has 1,023 ports. A network that outgrows its bridge gets more of them, its shards, each joined to the
// first by a trunk: a veth pair with an end on both. All are one segment then, and nobody on it notices. The host itself
// takes part in the first bridge only: the others switch, and nothing else (see addShards in ruleset.go).
//
// Containers fill up the first bridge with a port free, so that shards empty from the last. A shard is there as long as
// a pair is on it or on one behind it: the kernel is asked once who sits where, and Apply makes and removes shards
// accordingly, also after a daemon that died in between.

// bridgePorts is how many the kernel gives a bridge (BR_MAX_PORTS, without the zeroth).
const bridgePorts = 1023

// trunks is how many ports of a network's first bridge are kept for trunks.
func (m *Manager) trunks() int { return max(m.ports/16, 2) }

// room is how many pairs a network's i-th bridge takes.
func (m *Manager) room(i int) int {
	if i == 0 {
		return m.ports - m.trunks()
	}
	return m.ports - 1
}

// bridge is the name of the network's i-th bridge: the zeroth has the gateway, the others are shards.
func (n Network) bridge(i int) string {
	if i == 0 {
		return n.Bridge
	}
	return fmt.Sprintf("%s-%d", n.Bridge, i)
}

// bridges are the names of all that the network has.
func (n Network) bridges() []string {
	var names []string
	for i := range n.shards + 1 {
		names = append(names, n.bridge(i))
	}
	return names
}

func trunkPrefix(tag string) string { return "nt" + tag + "-" }

// trunkEnds are the names of a shard's trunk: its end on the network's first bridge, and that on the shard.
func (m *Manager) trunkEnds(shard string) (near, far string) {
	near = trunkPrefix(m.tag) + strings.TrimPrefix(shard, bridgePrefix(m.tag))
	return near, near + "s"
}

// seating says which bridge each pair is on, by the name of its end there, and how many are on each bridge.
type seating struct {
	found  bool // the kernel has been asked
	bridge map[string]string
	taken  map[string]int
}

func newSeating() *seating { return &seating{bridge: map[string]string{}, taken: map[string]int{}} }

func (s *seating) take(veth, bridge string) {
	s.leave(veth)
	s.bridge[veth] = bridge
	s.taken[bridge]++
}

func (s *seating) leave(veth string) {
	if bridge, ok := s.bridge[veth]; ok {
		s.taken[bridge]--
		delete(s.bridge, veth)
	}
}

// findSeats asks the kernel who sits where, once in the life of a Manager.
func (m *Manager) findSeats() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.seats.found {
		return nil
	}
	bridges, err := m.presentBridges()
	if err != nil {
		return err
	}
	veths, err := linksOf("veth", vethPrefix(m.tag))
	if err != nil {
		return err
	}
	names := map[int]string{}
	for name, link := range bridges {
		names[link.Attrs().Index] = name
	}
	m.seats.found = true
	for veth, link := range veths {
		if bridge, ok := names[link.Attrs().MasterIndex]; ok {
			m.seats.take(veth, bridge)
		}
	}
	return nil
}

// withShards says how many shards each network has: as many as it takes for those who sit on them. Nobody gets a seat
// any more on the ones that are going to be removed.
func (m *Manager) withShards(s State) State {
	s = s.clone()
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range s.Networks {
		n := &s.Networks[i]
		n.shards = 0
		for k := 1; k <= m.trunks(); k++ {
			if m.seats.taken[n.bridge(k)] > 0 {
				n.shards = k
			}
		}
		for k := n.shards + 1; k <= m.trunks(); k++ {
			delete(m.bridges, n.bridge(k))
		}
	}
	return s
}

// seat takes a port for a pair on the network's first bridge that has one free, and tells the number of that bridge;
// without, the number that the next shard would have.
func (m *Manager) seat(n Network, veth string) (i int, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.seats.leave(veth) // the pair of the same name gives way
	for ; ; i++ {
		bridge := n.bridge(i)
		if _, there := m.bridges[bridge]; !there {
			return i, false
		}
		if m.seats.taken[bridge] < m.room(i) {
			m.seats.take(veth, bridge)
			return i, true
		}
	}
}

// seatedOn are the pairs on a bridge.
func (m *Manager) seatedOn(bridge string) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var veths []string
	for veth, b := range m.seats.bridge {
		if b == bridge {
			veths = append(veths, veth)
		}
	}
	return veths
}

func (m *Manager) leaveSeat(veth string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.seats.leave(veth)
}

// seatOrExtend is seat, for a network that may need one more shard first.
func (m *Manager) seatOrExtend(ctx context.Context, n Network, veth string) (i int, err error) {
	if i, ok := m.seat(n, veth); ok {
		return i, nil
	}
	m.apply.Lock()
	defer m.apply.Unlock()
	i, ok := m.seat(n, veth)
	if ok {
		return i, nil // somebody else has just made the shard
	}
	if i > m.trunks() {
		most := m.room(0) + m.trunks()*m.room(1)
		return i, naru.Errorf(naru.FailedPrecondition, "a network takes at most %d containers, and this one has them: put some on another network", most)
	}
	m.mu.Lock()
	m.seats.take(veth, n.bridge(i)) // what makes the shard wanted
	s := m.state
	m.mu.Unlock()
	if err := m.applyAll(ctx, s); err != nil {
		m.leaveSeat(veth)
		return i, fmt.Errorf("add a bridge: %w", err)
	}
	return i, nil
}

// shardAddrs are the addresses of a shard. Where bridged packets pass the IP rules, those for published ports leave the
// shard by the host, as IP packets: the kernel lets none in where it has no address at all, if it filters by their way
// back (rp_filter). That of the gateway is as good as any; nobody is told of it there, for the bridge speaks no ARP.
func (n Network) shardAddrs() []netip.Prefix { return []netip.Prefix{netip.PrefixFrom(n.Gateway, 32)} }

// ensureTrunk joins a shard to the first bridge.
func (m *Manager) ensureTrunk(name string, shard, first int) error {
	near, far := m.trunkEnds(name)
	if _, err := netlink.LinkByName(near); errors.As(err, &netlink.LinkNotFoundError{}) {
		pair := netlink.NewVeth(netlink.NewLinkAttrs())
		pair.Name, pair.PeerName, pair.NumTxQueues, pair.NumRxQueues = near, far, 1, 1
		if err := netlink.LinkAdd(pair); err != nil {
			return fmt.Errorf("create trunk to bridge %s: %w", name, err)
		}
		if err := errors.Join(m.withoutIPv6(near), m.withoutIPv6(far)); err != nil {
			return fmt.Errorf("create trunk to bridge %s: %w", name, err)
		}
	}
	nearChanged, err := m.ensureTrunkEnd(near, first)
	if err != nil {
		return err
	}
	farChanged, err := m.ensureTrunkEnd(far, shard)
	if err != nil || !nearChanged && !farChanged {
		return err
	}
	c, err := openConversation()
	if err != nil {
		return err
	}
	defer c.close()
	return errors.Join(c.settle(near), c.settle(far), c.settle(name))
}

func (m *Manager) ensureTrunkEnd(name string, bridge int) (changed bool, err error) {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return false, fmt.Errorf("find trunk end %s: %w", name, err)
	}
	if link.Attrs().MasterIndex != bridge {
		if err := netlink.LinkSetMasterByIndex(link, bridge); err != nil {
			return false, fmt.Errorf("put trunk end %s on its bridge: %w", name, err)
		}
		changed = true
	}
	return changed || link.Attrs().Flags&net.FlagUp == 0, m.ensureUp(link)
}

// tellWhere tells the bridges of a network by which port a container is reached, once it is there: they may still
// remember where its address was on another of them, and would send there until the container speaks.
func (m *Manager) tellWhere(c conversation, n Network, i int, veth string, mac net.HardwareAddr) error {
	ports := []string{veth}
	if i > 0 {
		near, _ := m.trunkEnds(n.bridge(i))
		ports = append(ports, near)
	}
	var entries []request
	for _, port := range ports {
		index, err := c.index(port)
		if err != nil {
			return err
		}
		at := &netlink.Ndmsg{Family: unix.AF_BRIDGE, Index: uint32(index), State: unix.NUD_REACHABLE, Flags: unix.NTF_MASTER}
		entries = append(entries, newRequest(fmt.Sprintf("tell a bridge that %s is behind %s", mac, port), unix.RTM_NEWNEIGH,
			unix.NLM_F_CREATE|unix.NLM_F_REPLACE, at, nl.NewRtAttr(unix.NDA_LLADDR, mac)))
	}
	return c.say(entries...)
}
