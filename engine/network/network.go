// Package network joins containers to each other, to the host and to the world. It receives the networks and published
// ports that should exist and the network namespaces of starting containers, owns the bridges, veth pairs and the one
// nftables table that carry the tag of this daemon, and hands on packets: nothing else, and no process of its own.
//
// A network is a bridge, or several when it is large (shards.go). All that packets may and may not do stands in one table, `naru-TAG`, replaced as a whole in
// one atomic netlink batch, so that no packet meets half of a change. The table has only base chains of its own and
// accepts nothing on behalf of others: what the host's firewall drops stays dropped.
//
// A network has IPv4 always, and IPv6 when it has a subnet for it: the table's family is inet, and every rule holds for
// both. Packets of unique local addresses leave the host under the host's own, as all of IPv4 do; those of another IPv6
// subnet, which somebody must route to the host, leave as they are. New connections come in by published ports only.
package network

import (
	"cmp"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
)

// Network is a bridge and the subnet behind it.
type Network struct {
	Name     string
	Bridge   string // the interface's name, from BridgeName
	Subnet   netip.Prefix
	Gateway  netip.Addr   // the host's address on the bridge
	Subnet6  netip.Prefix `json:",omitzero"` // zero: IPv4 only
	Gateway6 netip.Addr   `json:",omitzero"`
	Internal bool         // no way out: its containers reach each other and the host only

	shards int // bridges beyond the first, as of an Apply
}

// subnets are those of the families that the network has.
func (n Network) subnets() []netip.Prefix {
	if n.Subnet6.IsValid() {
		return []netip.Prefix{n.Subnet, n.Subnet6}
	}
	return []netip.Prefix{n.Subnet}
}

// Publication is a port of the host that leads to containers, new connections taking turns among the Backends.
type Publication struct {
	HostIP   netip.Addr // zero: every address of the host; 0.0.0.0 or ::, every one of the family
	HostPort uint16
	Protocol string // "tcp" or "udp"
	Backends []netip.AddrPort
}

// State is all that should exist, as given to Apply.
type State struct {
	Networks     []Network
	Publications []Publication

	loopback6 bool // published ports are led to from ::1, as of an Apply
}

// Endpoint is one container's place on a network.
type Endpoint struct {
	ID        string
	Interface string // in the container; empty: eth0
	Addr      netip.Addr
	Addr6     netip.Addr       // with the network's Subnet6
	MAC       net.HardwareAddr // nil: derived from Addr
	Side      bool             // the container's way to the world is by another of its interfaces
	NetNS     *os.File         // the container's network namespace
}

// Config is what a Manager is told once.
type Config struct {
	Tag         string       // 4 characters, distinct per daemon: it is in the name of all that the daemon makes in the kernel
	Log         *slog.Logger // nil: silence
	BridgePorts int          // how many a bridge may have, at least 3; zero: as many as the kernel allows
}

// Manager keeps one daemon's part of the host's network as it should be. Its methods act in the network namespace of
// the calling thread, and may be called from several goroutines.
type Manager struct {
	tag   string
	log   *slog.Logger
	ports int

	sysctls sysctls // of containers

	apply   sync.Mutex // one change of the table at a time; holds also for these:
	kernel  kernel
	roomy   bool   // the kernel's tables of neighbours are large enough
	written uint32 // nftables' generation after the last change, while that is known to be ours

	mu        sync.Mutex
	applied   bool                 // the table is there
	state     State                // what Apply last achieved
	bridges   map[string]int       // interface index by bridge name
	seats     *seating             // who is on which bridge
	endpoints map[place]netip.Addr // attached or adopted
	mtu       int                  // of the host's way to the world, as of the last Apply; zero: the kernel's default
	served    map[netip.Addr]bool  // addresses that a published port has led to
}

// New returns a Manager that has not touched the kernel.
func New(c Config) *Manager {
	log := c.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Manager{
		tag:       c.Tag,
		log:       log,
		ports:     cmp.Or(c.BridgePorts, bridgePorts),
		bridges:   map[string]int{},
		endpoints: map[place]netip.Addr{},
		seats:     newSeating(),
		served:    map[netip.Addr]bool{},
	}
}

// Close closes the line to the kernel. What is there stays there.
func (m *Manager) Close() error {
	m.apply.Lock()
	defer m.apply.Unlock()
	return m.kernel.close()
}

// BridgeName names the bridge of the n-th network of a daemon, within the kernel's 15 characters.
func BridgeName(tag string, n int) string { return fmt.Sprintf("%s%d", bridgePrefix(tag), n) }

func bridgePrefix(tag string) string { return "nr" + tag + "-" }
func vethPrefix(tag string) string   { return "nv" + tag + "-" }
func tableName(tag string) string    { return "naru-" + tag }

// Has says whether the network has been applied, so that containers can be attached to it.
func (m *Manager) Has(n Network) bool {
	_, ok := m.bridgeIndex(n.Bridge)
	return ok
}

func (m *Manager) bridgeIndex(name string) (int, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	index, ok := m.bridges[name]
	return index, ok
}

// place is an interface of a container.
type place struct{ id, iface string }

func (e Endpoint) place() place { return newPlace(e.ID, e.Interface) }

func newPlace(id, iface string) place {
	if iface == "" {
		iface = inside
	}
	return place{id, iface}
}

// Adopt tells of an endpoint that an earlier process of this daemon attached.
func (m *Manager) Adopt(id, iface string, addr netip.Addr) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.endpoints[newPlace(id, iface)] = addr
}
