// Package dns tells containers where their neighbours are. It receives questions on the gateway address of each network
// and changes of names, owns the Table of these, the sockets and what is in flight to the host's own name servers, and
// hands on answers: from the table what the table knows, from upstream the rest.
//
// Messages are read with x/net/dns/dnsmessage and not with miekg/dns: only the question has to be understood, and what
// upstream answers is passed on byte for byte, so a library that knows every record type would have nothing to do.
package dns

import (
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/net/dns/dnsmessage"
)

// Names are the names of one network, without a dot at the end; case does not matter.
type Names map[string][]netip.Addr

// Entry is what one container adds to a table.
type Entry struct {
	Names   map[netip.Prefix]Names // by the subnet of the network in which they are known
	Clients map[netip.Addr]Client  // by its addresses; an address is in one entry only
}

// Client is what is known of one container, beyond the names that lead to it.
type Client struct {
	Name      string           // what its address is called, of several names; empty: all of them
	Also      []netip.Prefix   // further networks that it is on, whose names it may ask for as well
	Upstreams []netip.AddrPort // asked in the place of the server's own
}

// Table says what each network's containers may see. A change costs what it changes, however many entries there are.
type Table struct {
	mu       sync.RWMutex
	entries  map[string]Entry // by owner; what follows is made of them and of nothing else
	networks map[netip.Prefix]*network
	lengths  []int // of the prefixes: a client's network is found with one look a length
	clients  map[netip.Addr]Client
}

// network is there as long as an entry mentions it. An address is at a name as many times as entries say so.
type network struct {
	mentions int
	addrs    map[string][]netip.Addr
	names    map[netip.Addr][]string // the reverse
}

// NewTable makes a table that knows no network, and so refuses everybody.
func NewTable() *Table {
	return &Table{entries: map[string]Entry{}, networks: map[netip.Prefix]*network{}, clients: map[netip.Addr]Client{}}
}

// Set replaces the entries of these owners; an empty one is forgotten. Who asks sees all of the change or nothing. The
// entries are the table's from then on.
func (t *Table) Set(changes map[string]Entry) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for owner := range changes { // all of them before the first is added: an address may go from one to another
		t.remove(t.entries[owner])
		delete(t.entries, owner)
	}
	for owner, e := range changes {
		if len(e.Names)+len(e.Clients) > 0 {
			t.entries[owner] = e
			t.add(e)
		}
	}
}

func (t *Table) add(e Entry) {
	maps.Copy(t.clients, e.Clients)
	for subnet, names := range e.Names {
		n := t.networks[subnet.Masked()]
		if n == nil {
			n = &network{addrs: map[string][]netip.Addr{}, names: map[netip.Addr][]string{}}
			t.networks[subnet.Masked()] = n
			t.measure()
		}
		n.mentions++
		for name, addr := range names.each {
			n.addrs[name] = append(n.addrs[name], addr)
			n.names[addr] = append(n.names[addr], name)
		}
	}
}

// remove is the opposite of add.
func (t *Table) remove(e Entry) {
	for addr := range e.Clients {
		delete(t.clients, addr)
	}
	for subnet, names := range e.Names {
		n := t.networks[subnet.Masked()]
		for name, addr := range names.each {
			removeOne(n.addrs, name, addr)
			removeOne(n.names, addr, name)
		}
		if n.mentions--; n.mentions == 0 {
			delete(t.networks, subnet.Masked())
			t.measure()
		}
	}
}

// removeOne takes a value away from those of a key, once.
func removeOne[K, V comparable](all map[K][]V, key K, value V) {
	values := all[key]
	i := slices.Index(values, value)
	if values = slices.Delete(values, i, i+1); len(values) == 0 {
		delete(all, key)
		return
	}
	all[key] = values
}

// measure notes the lengths of the networks' prefixes, the longest first.
func (t *Table) measure() {
	t.lengths = t.lengths[:0]
	for subnet := range t.networks {
		t.lengths = append(t.lengths, subnet.Bits())
	}
	slices.Sort(t.lengths)
	slices.Reverse(t.lengths)
	t.lengths = slices.Compact(t.lengths)
}

// each yields the names, as the table keeps them, with one address at a time.
func (names Names) each(yield func(string, netip.Addr) bool) {
	for name, all := range names {
		key := canonical(name)
		for _, a := range all {
			if !yield(key, a.Unmap()) {
				return
			}
		}
	}
}

// visible are the networks whose names a client may ask for; none when it is no container.
func (t *Table) visible(client netip.Addr) []*network {
	first, ok := t.networkOf(client)
	if !ok {
		return nil
	}
	all := []*network{first}
	for _, subnet := range t.clients[client].Also {
		if n, ok := t.networks[subnet.Masked()]; ok {
			all = append(all, n)
		}
	}
	return all
}

// networkOf finds the network that an address is of.
func (t *Table) networkOf(a netip.Addr) (*network, bool) {
	for _, bits := range t.lengths {
		if p, err := a.Prefix(bits); err == nil {
			if n, ok := t.networks[p]; ok {
				return n, true
			}
		}
	}
	return nil, false
}

// upstreams are the name servers that a client wants asked in the place of the server's own.
func (t *Table) upstreams(client netip.Addr) []netip.AddrPort {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.clients[client].Upstreams
}

// answer is what the table says to a question.
type answer struct {
	forward bool // not the table's business: upstream knows
	rcode   dnsmessage.RCode
	addrs   []netip.Addr // for A and AAAA
	names   []string     // for PTR
}

// resolve answers a client's question. An answer without rcode, addrs or names is "the name exists, but has no such
// record": a client that asks for IPv6 and IPv4 at once then takes IPv4, where "no such name" would end its search.
func (t *Table) resolve(client netip.Addr, q dnsmessage.Question) answer {
	t.mu.RLock()
	defer t.mu.RUnlock()
	networks := t.visible(client.Unmap())
	if len(networks) == 0 {
		return answer{rcode: dnsmessage.RCodeRefused} // not a container: an open resolver serves attackers
	}
	name := canonical(q.Name.String())
	for _, n := range networks {
		if addrs, ok := n.addrs[name]; ok {
			return answer{addrs: ofType(addrs, q.Type)}
		}
	}
	if a, ok := reverseAddr(name); ok {
		return t.resolveReverse(networks, a, q.Type)
	}
	if name != "" && !strings.Contains(name, ".") {
		return answer{rcode: dnsmessage.RCodeNameError} // names of one word are containers: upstream need not hear of them
	}
	return answer{forward: true}
}

// resolveReverse names an address of the client's own networks. Those of other networks are not told to anybody.
func (t *Table) resolveReverse(networks []*network, a netip.Addr, asked dnsmessage.Type) answer {
	for _, n := range networks {
		if names, ok := n.names[a]; ok {
			if asked != dnsmessage.TypePTR && asked != dnsmessage.TypeALL {
				return answer{}
			}
			if name := t.clients[a].Name; name != "" {
				return answer{names: []string{name}}
			}
			names = slices.Sorted(slices.Values(names))
			return answer{names: slices.Compact(names)}
		}
	}
	if _, ours := t.networkOf(a); ours {
		return answer{rcode: dnsmessage.RCodeNameError}
	}
	return answer{forward: true}
}

// ofType leaves the addresses that a record of the type can hold.
func ofType(addrs []netip.Addr, t dnsmessage.Type) []netip.Addr {
	var fit []netip.Addr
	for _, a := range addrs {
		if t == dnsmessage.TypeALL || t == typeOf(a) {
			fit = append(fit, a)
		}
	}
	return fit
}

func typeOf(a netip.Addr) dnsmessage.Type {
	if a.Is4() {
		return dnsmessage.TypeA
	}
	return dnsmessage.TypeAAAA
}

// canonical is a name as the table keeps it. Only ASCII letters have two forms in DNS.
func canonical(name string) string {
	name = strings.TrimSuffix(name, ".")
	if !strings.ContainsFunc(name, func(r rune) bool { return 'A' <= r && r <= 'Z' }) {
		return name
	}
	b := []byte(name)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

// reverseAddr reads "2.0.0.10.in-addr.arpa", the name that an address's names are asked by, or one below ip6.arpa.
func reverseAddr(name string) (netip.Addr, bool) {
	if rest, ok := strings.CutSuffix(name, ".ip6.arpa"); ok {
		return reverseAddr6(strings.Split(rest, "."))
	}
	rest, ok := strings.CutSuffix(name, ".in-addr.arpa")
	if !ok {
		return netip.Addr{}, false
	}
	labels := strings.Split(rest, ".")
	if len(labels) != 4 {
		return netip.Addr{}, false
	}
	var b [4]byte
	for i, l := range labels {
		n, err := strconv.ParseUint(l, 10, 8)
		if err != nil {
			return netip.Addr{}, false
		}
		b[3-i] = byte(n)
	}
	return netip.AddrFrom4(b), true
}

// reverseAddr6 reads the 32 hexadecimal digits of an IPv6 address, the last first.
func reverseAddr6(labels []string) (netip.Addr, bool) {
	var b [16]byte
	if len(labels) != 2*len(b) {
		return netip.Addr{}, false
	}
	for i, l := range labels {
		n, err := strconv.ParseUint(l, 16, 4)
		if err != nil || len(l) != 1 {
			return netip.Addr{}, false
		}
		b[15-i/2] |= byte(n) << (4 * (i % 2))
	}
	return netip.AddrFrom16(b), true
}
