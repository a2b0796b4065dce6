package dns

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// However a table came to its entries, it is the one that is made of them at once.
func TestTableIsMadeOfItsEntriesAlone(t *testing.T) {
	for seed := range uint64(50) {
		random := rand.New(rand.NewPCG(seed, 0))
		table, entries := NewTable(), map[string]Entry{}
		for range 200 {
			changes := map[string]Entry{}
			for range 1 + random.IntN(3) {
				owner := random.IntN(12)
				changes[fmt.Sprint(owner)] = randomEntry(random, owner)
			}
			table.Set(changes)
			for owner, e := range changes {
				entries[owner] = e
			}
			anew := NewTable()
			anew.Set(entries)
			if diff := cmp.Diff(content(anew), content(table)); diff != "" {
				t.Fatalf("seed %d: made at once (-) and by changes (+):\n%s", seed, diff)
			}
		}
		table.Set(emptied(entries))
		if diff := cmp.Diff(content(NewTable()), content(table)); diff != "" {
			t.Fatalf("seed %d: empty (-) and emptied (+):\n%s", seed, diff)
		}
	}
}

// randomEntry is often empty, and meets others at names, networks and, where no client differs, addresses.
func randomEntry(random *rand.Rand, owner int) Entry {
	if random.IntN(3) == 0 {
		return Entry{}
	}
	own := netip.AddrFrom4([4]byte{10, 0, 1, byte(owner)})
	e := Entry{Names: map[netip.Prefix]Names{}, Clients: map[netip.Addr]Client{}}
	if random.IntN(2) == 0 {
		e.Clients[own] = Client{Upstreams: []netip.AddrPort{netip.AddrPortFrom(own, uint16(random.IntN(3)))}}
	}
	for range random.IntN(3) {
		network := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(random.IntN(3)), 0, 0}), 14+random.IntN(3)) // not always masked
		names := Names{}
		for range random.IntN(4) {
			name := []string{"web", "WEB", "db", "own"}[random.IntN(4)]
			names[name] = append(names[name], own, netip.AddrFrom4([4]byte{10, 0, 2, byte(random.IntN(2))}))
		}
		e.Names[network] = names
	}
	return e
}

func emptied(entries map[string]Entry) map[string]Entry {
	changes := map[string]Entry{}
	for owner := range entries {
		changes[owner] = Entry{}
	}
	return changes
}

// content is all that a table answers from, in one order.
func content(t *Table) map[string]string {
	all := map[string]string{"lengths": fmt.Sprint(t.lengths)}
	for subnet, n := range t.networks {
		key := subnet.String()
		all[key] = fmt.Sprint(n.mentions)
		for name, addrs := range n.addrs {
			all[key+" "+name] = fmt.Sprint(slices.SortedFunc(slices.Values(addrs), netip.Addr.Compare))
		}
		for addr, names := range n.names {
			all[key+" "+addr.String()] = fmt.Sprint(slices.Sorted(slices.Values(names)))
		}
	}
	for addr, c := range t.clients {
		all["client "+addr.String()] = fmt.Sprint(c)
	}
	for owner := range t.entries {
		all["owner "+owner] = "there"
	}
	return all
}

// BenchmarkSet is what a change costs among a thousand containers with two names and two addresses each.
func BenchmarkSet(b *testing.B) {
	network := netip.MustParsePrefix("10.0.0.0/22")
	entries := map[string]Entry{}
	addr, addr6 := netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("fd00::2")
	for i := range 1000 {
		both := []netip.Addr{addr, addr6}
		entries[fmt.Sprint(i)] = Entry{Names: map[netip.Prefix]Names{network: {fmt.Sprintf("container-%d", i): both, fmt.Sprintf("%012x", i): both}}}
		addr, addr6 = addr.Next(), addr6.Next()
	}
	table := NewTable()
	table.Set(entries)
	for b.Loop() {
		table.Set(map[string]Entry{"7": {}})
		table.Set(map[string]Entry{"7": entries["7"]})
	}
}
