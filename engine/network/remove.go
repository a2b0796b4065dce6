package network

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Detach removes all places of a container: its veth pairs and, when a published port led to it, the connections that
// conntrack still remembers, which would otherwise go on to whoever gets the address next. What is gone already is fine.
// The kernel takes some 15 ms to remove a pair: whoever is in a hurry does not wait for it.
func (m *Manager) Detach(ctx context.Context, id string) error {
	places := m.placesOf(id)
	if len(places) == 0 { // unknown to this process
		found, err := m.present()
		if err != nil {
			return fmt.Errorf("detach %s: %w", id, err)
		}
		places = slices.DeleteFunc(found, func(p place) bool { return p.id != id })
	}
	var errs []error
	for _, p := range places {
		errs = append(errs, m.detach(ctx, p))
	}
	return errors.Join(errs...)
}

// DetachOne removes one place of a container that may have others.
func (m *Manager) DetachOne(ctx context.Context, id, iface string) error {
	return m.detach(ctx, newPlace(id, iface))
}

func (m *Manager) placesOf(id string) []place {
	m.mu.Lock()
	defer m.mu.Unlock()
	var places []place
	for p := range m.endpoints {
		if p.id == id {
			places = append(places, p)
		}
	}
	return places
}

func (m *Manager) detach(ctx context.Context, p place) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	addr := m.endpoints[p]
	served := m.served[addr]
	m.mu.Unlock()
	if err := deleteLink(m.vethName(p)); err != nil {
		return fmt.Errorf("detach %s: %w", p.id, err)
	}
	if served {
		if err := m.cutFlows(addr); err != nil {
			return fmt.Errorf("detach %s: %w", p.id, err)
		}
	}
	m.forget(p, addr)
	return nil
}

func (m *Manager) cutFlows(addr netip.Addr) error {
	m.apply.Lock()
	defer m.apply.Unlock()
	return m.kernel.deleteFlows(flowsTo(m.bothAddrs(addr)))
}

// bothAddrs adds the IPv6 address that belongs to a container's IPv4 one.
func (m *Manager) bothAddrs(addr netip.Addr) []netip.Addr {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, n := range m.state.Networks {
		if n.Subnet.Contains(addr) && n.Subnet6.IsValid() {
			return []netip.Addr{addr, n.Addr6(addr)}
		}
	}
	return []netip.Addr{addr}
}

func (m *Manager) forget(p place, addr netip.Addr) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.endpoints, p)
	m.seats.leave(m.vethName(p))
	leads := func(p Publication) bool {
		return slices.ContainsFunc(p.Backends, func(b netip.AddrPort) bool { return b.Addr() == addr })
	}
	if !slices.ContainsFunc(m.state.Publications, leads) {
		delete(m.served, addr)
	}
}

// RemoveAll takes everything of this daemon's tag out of the kernel. Forwarding stays as it is: others may need it now.
func (m *Manager) RemoveAll(ctx context.Context) error {
	m.apply.Lock()
	defer m.apply.Unlock()
	defer m.sysctls.close()
	m.written = 0
	if err := m.kernel.open(); err != nil {
		return fmt.Errorf("remove networks: %w", err)
	}
	if err := newBatch(&m.kernel, m.tag).send(ctx); err != nil {
		return fmt.Errorf("remove networks: %w", err)
	}
	if err := m.removeLinks(); err != nil {
		return fmt.Errorf("remove networks: %w", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.applied, m.state = false, State{}
	clear(m.bridges)
	m.seats = newSeating()
	clear(m.endpoints)
	clear(m.served)
	return nil
}

func (m *Manager) removeLinks() error {
	veths, err := linksOf("veth", vethPrefix(m.tag))
	if err != nil {
		return err
	}
	trunks, err := linksOf("veth", trunkPrefix(m.tag))
	if err != nil {
		return err
	}
	bridges, err := m.presentBridges()
	if err != nil {
		return err
	}
	return errors.Join(deleteLinks(veths), deleteLinks(trunks), deleteLinks(bridges))
}

// deleteLink removes an interface; that it is gone already is fine.
func deleteLink(name string) error {
	c, err := openConversation()
	if err != nil {
		return err
	}
	defer c.close()
	return c.deleteLink(name)
}

func (c conversation) deleteLink(name string) error {
	err := c.say(newRequest("delete interface "+name, unix.RTM_DELLINK, 0,
		nl.NewIfInfomsg(unix.AF_UNSPEC), nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(name))))
	if errors.Is(err, unix.ENODEV) {
		return nil
	}
	return err
}

// StrangeLinks names the bridges of this daemon, and the trunks between them, that no network has. Before the first Apply
// nobody can say.
func (m *Manager) StrangeLinks(ctx context.Context) ([]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.apply.Lock() // nothing is half made
	defer m.apply.Unlock()
	return m.strangeLinks()
}

// RemoveStrangeLink removes one of StrangeLinks, unless a network has it by now.
func (m *Manager) RemoveStrangeLink(ctx context.Context, name string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.apply.Lock()
	defer m.apply.Unlock()
	strange, err := m.strangeLinks()
	if err != nil || !slices.Contains(strange, name) {
		return err
	}
	return deleteLink(name)
}

func (m *Manager) strangeLinks() ([]string, error) {
	bridges, err := m.presentBridges()
	if err != nil {
		return nil, err
	}
	trunks, err := linksOf("veth", trunkPrefix(m.tag))
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.applied {
		return nil, nil
	}
	known := map[string]bool{}
	for name := range m.bridges {
		near, far := m.trunkEnds(name)
		known[name], known[near], known[far] = true, true, true
	}
	var strange []string
	for _, present := range []map[string]netlink.Link{bridges, trunks} {
		for name := range present {
			if !known[name] {
				strange = append(strange, name)
			}
		}
	}
	slices.Sort(strange)
	return strange, nil
}

func (m *Manager) hasTable() (bool, error) {
	conn, err := nftables.New()
	if err != nil {
		return false, fmt.Errorf("open nftables: %w", err)
	}
	tables, err := conn.ListTablesOfFamily(nftables.TableFamilyINet)
	if err != nil {
		return false, fmt.Errorf("list nftables: %w", explain(err))
	}
	return slices.ContainsFunc(tables, func(t *nftables.Table) bool { return strings.EqualFold(t.Name, tableName(m.tag)) }), nil
}
