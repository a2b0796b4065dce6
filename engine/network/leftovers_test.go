package network

import (
	"context"
	"fmt"
	"slices"

	"github.com/vishvananda/netlink"
)

// leftovers names what carries this daemon's tag in the kernel and should not be there: bridges that the state last
// applied does not have, trunks to such, veth ends of containers that were neither attached nor adopted, the table when nothing was
// applied.
func (m *Manager) leftovers(ctx context.Context) ([]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	bridges, err := m.presentBridges()
	if err != nil {
		return nil, err
	}
	veths, err := linksOf("veth", vethPrefix(m.tag))
	if err != nil {
		return nil, err
	}
	trunks, err := linksOf("veth", trunkPrefix(m.tag))
	if err != nil {
		return nil, err
	}
	table, err := m.hasTable()
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	found := slices.Concat(m.strangeBridges(bridges), m.strangeTrunks(trunks), m.strangeVeths(veths))
	if table && !m.applied {
		found = append(found, "nftables table inet "+tableName(m.tag))
	}
	slices.Sort(found)
	return found, nil
}

func (m *Manager) strangeBridges(present map[string]netlink.Link) []string {
	var found []string
	for name := range present {
		if _, known := m.bridges[name]; !known {
			found = append(found, "bridge "+name)
		}
	}
	return found
}

func (m *Manager) strangeTrunks(present map[string]netlink.Link) []string {
	known := map[string]bool{}
	for name := range m.bridges {
		near, far := m.trunkEnds(name)
		known[near], known[far] = true, true
	}
	var found []string
	for name := range present {
		if !known[name] {
			found = append(found, "trunk "+name)
		}
	}
	return found
}

func (m *Manager) strangeVeths(present map[string]netlink.Link) []string {
	known := map[string]bool{}
	for p := range m.endpoints {
		known[m.vethName(p)] = true
	}
	var found []string
	for name, link := range present {
		if known[name] {
			continue
		}
		text := "veth " + name
		if addr, p, ok := parseAlias(link.Attrs().Alias); ok {
			text += fmt.Sprintf(" of %s (%s)", p.id, addr)
		}
		found = append(found, text)
	}
	return found
}
