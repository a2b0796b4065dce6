package network

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// translation is a rule of the kernel's that leads from a port of the host to one place, as read back from it.
type translation struct {
	chain    string
	protocol string
	from     portKey // zero port: no map leads to the chain
	to       netip.AddrPort
	turns    int // how many places the rule leads to in turn
	count    *Count
}

// String is what the rule does.
func (t translation) String() string {
	if t.turns > 1 {
		return fmt.Sprintf("dnat to %s, one of %d in turn", t.to, t.turns)
	}
	return fmt.Sprintf("dnat to %s", t.to)
}

// tableReader reads the daemon's own table back.
type tableReader struct {
	conn  *nftables.Conn
	table *nftables.Table
	sets  []*nftables.Set
}

// translations reads all that the kernel's table leads to containers. Without a table there is nothing.
func (m *Manager) translations() ([]translation, error) {
	exists, err := m.hasTable()
	if err != nil || !exists {
		return nil, err
	}
	conn, err := nftables.New()
	if err != nil {
		return nil, fmt.Errorf("open nftables: %w", err)
	}
	r := &tableReader{conn: conn, table: &nftables.Table{Name: tableName(m.tag), Family: nftables.TableFamilyINet}}
	found, err := r.read()
	if err != nil {
		return nil, fmt.Errorf("read table %s: %w", r.table.Name, explain(err))
	}
	return found, nil
}

func (r *tableReader) read() ([]translation, error) {
	var err error
	if r.sets, err = r.conn.GetSets(r.table); err != nil {
		return nil, err
	}
	doors, err := r.doors()
	if err != nil {
		return nil, err
	}
	chains, err := r.conn.ListChainsOfTableFamily(r.table.Family)
	if err != nil {
		return nil, err
	}
	var all []translation
	for _, c := range chains {
		if c.Table.Name != r.table.Name || c.Hooknum != nil || !isPortChain(c.Name) {
			continue
		}
		found, err := r.readChain(c, doors[c.Name])
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}

func isPortChain(name string) bool {
	return strings.HasPrefix(name, "tcp-") || strings.HasPrefix(name, "udp-")
}

// doors are the ports that lead to each chain, from the maps.
func (r *tableReader) doors() (map[string][]portKey, error) {
	doors := map[string][]portKey{}
	for _, s := range r.sets {
		if !s.IsMap || s.Anonymous {
			continue
		}
		elements, err := r.conn.GetSetElements(s)
		if err != nil {
			return nil, err
		}
		for _, e := range elements {
			chain := verdictChain(e.Val)
			if key, ok := parsePortKey(e.Key); ok && chain != "" && !slices.Contains(doors[chain], key) {
				doors[chain] = append(doors[chain], key)
			}
		}
	}
	return doors, nil
}

// verdictChain is the chain that a verdict goes to, from the attributes which the library leaves as they are.
func verdictChain(b []byte) string {
	for _, a := range attributes(b) {
		if a.Type == unix.NFTA_VERDICT_CHAIN {
			return unix.ByteSliceToString(a.Data)
		}
	}
	return ""
}

// parsePortKey is the opposite of portKey.bytes.
func parsePortKey(b []byte) (portKey, bool) {
	if len(b) < 8 {
		return portKey{}, false
	}
	host, rest := b[:len(b)-8], b[len(b)-8:]
	ip, _ := netip.AddrFromSlice(host) // none: every address
	k := portKey{ip: ip, protocol: "tcp", port: binary.BigEndian.Uint16(rest[4:])}
	if rest[0] == unix.IPPROTO_UDP {
		k.protocol = "udp"
	}
	return k, len(host) == 0 || ip.IsValid()
}

// readChain reads what a publication's chain leads to: a translation for each place and each port that leads here.
func (r *tableReader) readChain(c *nftables.Chain, doors []portKey) ([]translation, error) {
	rules, err := r.conn.GetRules(r.table, c)
	if err != nil {
		return nil, err
	}
	if len(doors) == 0 {
		doors = []portKey{{}}
	}
	var all []translation
	for _, rule := range rules {
		places, count, err := r.readRule(rule)
		if err != nil {
			return nil, err
		}
		for _, to := range places {
			for _, from := range doors {
				if from.ip.IsValid() && from.ip.Is4() != to.Addr().Is4() {
					continue
				}
				all = append(all, translation{chain: c.Name, protocol: c.Name[:3], from: from, to: to, turns: len(places), count: count})
			}
		}
	}
	return all, nil
}

// readRule finds the places in a rule's expressions: loaded by the rule itself, or from a map of it.
func (r *tableReader) readRule(rule *nftables.Rule) (places []netip.AddrPort, count *Count, err error) {
	var loaded []byte
	for _, e := range rule.Exprs {
		switch e := e.(type) {
		case *expr.Counter:
			count = &Count{Connections: e.Packets, Bytes: e.Bytes}
		case *expr.Immediate:
			loaded = append(loaded, e.Data...)
		case *expr.Lookup:
			found, err := r.placesIn(e.SetName)
			if err != nil {
				return nil, nil, err
			}
			places = append(places, found...)
		}
	}
	if to, ok := parsePlace(loaded); ok {
		places = append(places, to)
	}
	return places, count, nil
}

func (r *tableReader) placesIn(set string) ([]netip.AddrPort, error) {
	i := slices.IndexFunc(r.sets, func(s *nftables.Set) bool { return s.Name == set })
	if i < 0 || !r.sets[i].IsMap {
		return nil, nil
	}
	elements, err := r.conn.GetSetElements(r.sets[i])
	if err != nil {
		return nil, err
	}
	var places []netip.AddrPort
	for _, e := range elements {
		if to, ok := parsePlace(e.Val); ok {
			places = append(places, to)
		}
	}
	return places, nil
}

// parsePlace reads an address and a port, which may have filling behind it.
func parsePlace(b []byte) (netip.AddrPort, bool) {
	n := 4
	if len(b) >= 18 {
		n = 16
	}
	if len(b) < n+2 {
		return netip.AddrPort{}, false
	}
	addr, ok := netip.AddrFromSlice(b[:n])
	return netip.AddrPortFrom(addr, binary.BigEndian.Uint16(b[n:])), ok
}
