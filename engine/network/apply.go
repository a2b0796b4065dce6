package network

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
)

// Apply makes the kernel be as the state says: its bridges exist, others of this daemon do not, and the table's rules
// are the state's. It repairs what was removed behind its back, and may be repeated at any time without harm.
func (m *Manager) Apply(ctx context.Context, s State) error {
	if err := s.check(m.tag); err != nil {
		return fmt.Errorf("apply networks: %w", err)
	}
	m.apply.Lock()
	defer m.apply.Unlock()
	if err := m.applyAll(ctx, s); err != nil {
		return fmt.Errorf("apply networks: %w", err)
	}
	return nil
}

// applyAll makes bridges before the rules that name them, and removes bridges after their rules.
func (m *Manager) applyAll(ctx context.Context, s State) error {
	if err := m.findSeats(); err != nil {
		return err
	}
	s = m.withShards(s)
	s.loopback6 = !bridgedPassIPv6Rules()
	if err := m.enableForwarding(s.Networks); err != nil {
		return err
	}
	if err := m.followUplink(); err != nil {
		return err
	}
	others, indexes, err := m.ensureBridges(s.Networks)
	if err != nil {
		return err
	}
	if err := m.replaceTable(ctx, s); err != nil {
		return err
	}
	if !m.isApplied() {
		err = m.takeOverFlows(s)
	}
	before := m.remember(s, indexes)
	return errors.Join(err, m.deleteBridges(others), m.forgetFlows(before, s))
}

// replaceTable puts the state's table in the place of the daemon's former one. Nothing is written when the state is the
// same as before and nobody has changed any rules since: every container that comes or goes makes the engine apply.
func (m *Manager) replaceTable(ctx context.Context, s State) error {
	if err := m.kernel.open(); err != nil {
		return err
	}
	before, err := m.kernel.generation()
	if err != nil {
		return errors.Join(explain(err), m.kernel.close())
	}
	if before == m.written && m.hasApplied(s) {
		return nil
	}
	counted, err := m.kernel.counts(m.tag)
	if err != nil {
		return errors.Join(explain(err), m.kernel.close())
	}
	b := newBatch(&m.kernel, m.tag)
	b.addTable()
	writeRuleset(b, s, counted)
	if err := b.send(ctx); err != nil {
		return err
	}
	m.written = 0 // unless the only change was ours
	after, err := m.kernel.generation()
	if err == nil && after == before+1 {
		m.written = after
	}
	return err
}

func (m *Manager) hasApplied(s State) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.applied && reflect.DeepEqual(m.state, s)
}

func (m *Manager) isApplied() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.applied
}

// remember keeps what was achieved and returns what was before.
func (m *Manager) remember(s State, bridges map[string]int) State {
	m.mu.Lock()
	defer m.mu.Unlock()
	before := m.state
	m.applied, m.state, m.bridges = true, s, bridges
	for _, p := range s.Publications {
		for _, b := range p.Backends {
			m.served[b.Addr()] = true
		}
	}
	return before
}

// clone makes what the caller does with its state later no concern.
func (s State) clone() State {
	c := s
	c.Networks, c.Publications = slices.Clone(s.Networks), slices.Clone(s.Publications)
	for i := range c.Publications {
		c.Publications[i].Backends = slices.Clone(c.Publications[i].Backends)
	}
	return c
}

// enableForwarding switches on that the host passes packets on between interfaces, without which no container reaches
// anything but its neighbours.
func (m *Manager) enableForwarding(networks []Network) error {
	if len(networks) == 0 {
		return nil
	}
	if err := m.switchOn("ipv4/ip_forward", nil); err != nil {
		return err
	}
	if err := m.makeRoomForNeighbours(); err != nil {
		return err
	}
	if slices.ContainsFunc(networks, func(n Network) bool { return n.Subnet6.IsValid() }) {
		return m.switchOn("ipv6/conf/all/forwarding", keepRouterAdvertisements)
	}
	return nil
}

// switchOn sets a sysctl that is off, after what must be done first.
func (m *Manager) switchOn(sysctl string, first func() error) error {
	now, err := os.ReadFile("/proc/sys/net/" + sysctl)
	if err != nil {
		return fmt.Errorf("read net.%s: %w", sysctl, err)
	}
	if strings.TrimSpace(string(now)) != "0" {
		return nil
	}
	if first != nil {
		if err := first(); err != nil {
			return err
		}
	}
	if err := writeSysctl(sysctl, "1"); err != nil {
		return err
	}
	m.log.Warn("a sysctl was off and is on now: containers need it, and this host now also forwards between its other interfaces unless its firewall says otherwise", "sysctl", "net."+sysctl)
	return nil
}

// neighbours is how many hardware addresses the kernel should be able to keep in mind, of all namespaces together: by
// default it forgets some beyond 512 and refuses to talk to more than 1,024. A container takes two places, as the
// host's neighbour and for its gateway.
var neighbours = map[string]int{"gc_thresh2": 1 << 14, "gc_thresh3": 1 << 15}

// makeRoomForNeighbours raises limits that are too low for a large network, once in the life of a Manager. Namespaces
// other than the machine's first do not have them.
func (m *Manager) makeRoomForNeighbours() error {
	if m.roomy {
		return nil
	}
	for _, family := range []string{"ipv4", "ipv6"} {
		for name, want := range neighbours {
			path := family + "/neigh/default/" + name
			text, err := os.ReadFile("/proc/sys/net/" + path)
			if now, bad := strconv.Atoi(strings.TrimSpace(string(text))); err != nil || bad != nil || now >= want {
				continue
			}
			if err := writeSysctl(path, strconv.Itoa(want)); err != nil {
				return err
			}
			m.log.Info("raised how many neighbours the kernel keeps in mind: each container takes two places", "sysctl", "net."+path, "to", want)
		}
	}
	m.roomy = true
	return nil
}

// keepRouterAdvertisements lets a host that got its own IPv6 by a router's announcements go on so: one that forwards
// listens to them only when told to in these words.
func keepRouterAdvertisements() error {
	files, err := filepath.Glob("/proc/sys/net/ipv6/conf/*/accept_ra")
	if err != nil {
		return err
	}
	for _, file := range files {
		if now, err := os.ReadFile(file); err != nil || strings.TrimSpace(string(now)) != "1" {
			continue // an interface that has just gone, or does not listen
		}
		if err := os.WriteFile(file, []byte("2"), 0); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("keep listening to routers: %w", err)
		}
	}
	return nil
}

// followUplink notes the largest packet of the host's way to the world: containers that sent larger ones would lose them
// where a firewall drops the answer that says so.
func (m *Manager) followUplink() error {
	mtu := 0
	index, err := uplinkIndex()
	if err != nil {
		return err
	}
	if index > 0 {
		if link, err := netlink.LinkByIndex(index); err == nil { // else it has just gone
			mtu = link.Attrs().MTU
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mtu = mtu
	return nil
}

func (m *Manager) uplinkMTU() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mtu
}
