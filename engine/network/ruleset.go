package network

import (
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
)

// The whole table, as it is for the state in testdata/full.nft:
//
//	transit      what shards switch is nothing to the host …
//	input        … also what comes to all, or to the hardware address of a shard
//	guard        loopback addresses do not come out of a bridge, although route_localnet is on there
//	prerouting   what comes to a published port goes to its backends …
//	output       … also from the host itself
//	forward      who may talk to whom; what is not known to be fine and leads into a bridge is dropped
//	postrouting  what leaves a network by the host does so under an address of the host

// ruleset writes the table for a state into a batch. It is pure: the batch is sent by replaceTable.
type ruleset struct {
	*batch
	bridges  *nftables.Set // names of all bridges
	internal *nftables.Set // those of internal networks
	same     *nftables.Set // pairs of a bridge and itself, and of a shard and its network's first bridge
	shards   *nftables.Set // bridges beyond a network's first; nil: there are none
	counted  map[string]expr.Counter
}

// writeRuleset is the table of a state, whose publications go on counting from counted.
func writeRuleset(b *batch, s State, counted map[string]expr.Counter) {
	r := &ruleset{batch: b, counted: counted}
	r.addSets(s.Networks)
	r.addShards(s.Networks)
	r.addGuard()
	r.addForward()
	r.addPostrouting(s.Networks)
	r.addPublications(s)
}

func (r *ruleset) addSets(networks []Network) {
	var bridges, internal, same []nftables.SetElement
	for _, n := range networks {
		first := ifname(n.Bridge)
		for i, bridge := range n.bridges() {
			name := ifname(bridge)
			bridges = append(bridges, nftables.SetElement{Key: name})
			same = append(same, nftables.SetElement{Key: slices.Concat(name, name)})
			if i > 0 {
				same = append(same, nftables.SetElement{Key: slices.Concat(name, first)})
			}
			if n.Internal {
				internal = append(internal, nftables.SetElement{Key: name})
			}
		}
	}
	pair := nftables.MustConcatSetType(nftables.TypeIFName, nftables.TypeIFName)
	r.bridges = r.set(nftables.Set{Name: "bridges", KeyType: nftables.TypeIFName, KeyByteOrder: binaryutil.NativeEndian}, bridges)
	r.internal = r.set(nftables.Set{Name: "internal", KeyType: nftables.TypeIFName, KeyByteOrder: binaryutil.NativeEndian}, internal)
	r.same = r.set(nftables.Set{Name: "same", KeyType: pair, Concatenation: true}, same)
}

// addShards keeps the host out of shards, which only switch. In most hosts no rule sees what they switch. Where bridged
// packets pass the IP rules (net.bridge.bridge-nf-call-iptables), a packet passes them on each bridge that it crosses:
// it must be known to conntrack on the first one only, or it would be taken for a second connection. Except when it is
// for the host: that a shard translates, if it is for a published port, because the first bridge could not send it back
// by the trunk that it came by.
func (r *ruleset) addShards(networks []Network) {
	var shards []nftables.SetElement
	for _, n := range networks {
		for _, bridge := range n.bridges()[1:] {
			shards = append(shards, nftables.SetElement{Key: ifname(bridge)})
		}
	}
	if len(shards) == 0 {
		return
	}
	r.shards = r.set(nftables.Set{Name: "shards", KeyType: nftables.TypeIFName, KeyByteOrder: binaryutil.NativeEndian}, shards)
	in := r.base("input", nftables.ChainTypeFilter, nftables.ChainHookInput, nftables.ChainPriorityFilter)
	r.rule(in, iifIn(r.shards), ctDNATed(), accept()) // an answer to the host's own call of a published port
	r.rule(in, iifIn(r.shards), drop())
	guard := r.base("transit", nftables.ChainTypeFilter, nftables.ChainHookPrerouting, nftables.ChainPriorityRaw)
	r.rule(guard, iifIn(r.shards), daddrIsNotLocal(), notrack())
}

// addGuard drops what route_localnet would let in: with it on, a container could speak to services that listen on the
// host's 127.0.0.1. Replies to the host's own connections still carry the gateway's address here, before conntrack.
func (r *ruleset) addGuard() {
	c := r.base("guard", nftables.ChainTypeFilter, nftables.ChainHookPrerouting, nftables.ChainPriorityRaw)
	r.rule(c, daddrIn(loopback), iifIn(r.bridges), drop())
	r.rule(c, saddrIn(loopback), iifIn(r.bridges), drop())
}

// addForward says who may talk to whom. Only the first packet of a connection gets past the first rule.
func (r *ruleset) addForward() {
	c := r.base("forward", nftables.ChainTypeFilter, nftables.ChainHookForward, nftables.ChainPriorityFilter)
	r.rule(c, ctState(expr.CtStateBitESTABLISHED|expr.CtStateBitRELATED), accept())
	r.rule(c, iifOifIn(r.same), accept())
	r.rule(c, iifIn(r.internal), drop()) // no way out
	r.rule(c, ctDNATed(), accept())      // a published port is a way in
	if r.shards != nil {
		r.rule(c, iifIn(r.shards), drop()) // routed, that is: what a shard switches is accepted above
	}
	r.rule(c, oifIn(r.bridges), drop()) // there is no other: not from another network, nor past the published ports
}

// addPostrouting gives packets that leave a network an address that the other side can answer to.
func (r *ruleset) addPostrouting(networks []Network) {
	c := r.base("postrouting", nftables.ChainTypeNAT, nftables.ChainHookPostrouting, nftables.ChainPriorityNATSource)
	if r.shards != nil {
		r.rule(c, oifIn(r.shards), accept()) // switched, on its way to the first bridge
	}
	// The host to a port that it publishes on its loopback: the container could not answer to that address.
	r.rule(c, saddrIn(loopback), oifIn(r.bridges), masquerade())
	r.rule(c, saddrIn(loopback6), oifIn(r.bridges), masquerade())
	// An internal network has no default route, so a published port's client must seem to be the gateway.
	r.rule(c, oifIn(r.internal), ctDNATed(), masquerade())
	for _, n := range networks {
		for _, subnet := range n.subnets() {
			if subnet.Addr().Is4() || subnet.Addr().IsPrivate() { // else somebody routes the subnet to this host
				r.rule(c, saddrIn(subnet), oifIsNot(n.Bridge), masquerade())
			}
			// Hairpin: a container to a published port whose backend is its neighbour. The answer must come back by here.
			r.rule(c, saddrIn(subnet), oifIs(n.Bridge), ctDNATed(), masquerade())
		}
	}
}

// addPublications leads from host ports to backends: a chain for each publication, two maps for each family, and the
// ways there, from outside and from containers, and from the host itself.
func (r *ruleset) addPublications(s State) {
	published := r.chain("published")
	for _, p := range s.Publications {
		if len(p.Backends) > 0 { // else nothing answers: the host refuses the connection itself
			r.addBackends(p)
		}
	}
	r.addDoors(published, "", ip4(), s)
	r.addDoors(published, "6", ip6(), s)

	in := r.base("prerouting", nftables.ChainTypeNAT, nftables.ChainHookPrerouting, nftables.ChainPriorityNATDest)
	// A neighbour on the wire may send to 127.0.0.1, and the route would be looked up only after the translation.
	r.rule(in, daddrIn(loopback), verdict(expr.VerdictReturn, ""))
	r.rule(in, daddrIn(loopback6), verdict(expr.VerdictReturn, ""))
	r.rule(in, verdict(expr.VerdictJump, published.Name))

	out := r.base("output", nftables.ChainTypeNAT, nftables.ChainHookOutput, nftables.ChainPriorityNATDest)
	if !s.loopback6 { // no answer would come; refused at once, clients go on to 127.0.0.1
		r.rule(out, daddrIn(loopback6), verdict(expr.VerdictReturn, ""))
	}
	r.rule(out, verdict(expr.VerdictJump, published.Name))
}

// addDoors adds one family's maps from ports of the host to chains, and the rules that ask them.
func (r *ruleset) addDoors(published *nftables.Chain, suffix string, f ipFamily, s State) {
	exact, anywhere := doors(s, f)
	port := []nftables.SetDatatype{f.addr, nftables.TypeInetProto, nftables.TypeInetService}
	exactMap := r.set(nftables.Set{Name: "exact" + suffix, IsMap: true, DataType: nftables.TypeVerdict,
		KeyType: nftables.MustConcatSetType(port...), Concatenation: true}, exact)
	anywhereMap := r.set(nftables.Set{Name: "anywhere" + suffix, IsMap: true, DataType: nftables.TypeVerdict,
		KeyType: nftables.MustConcatSetType(port[1:]...), Concatenation: true}, anywhere)
	r.rule(published, f.is(), f.portVmap(exactMap))
	r.rule(published, f.is(), daddrIsLocal(), anyPortVmap(anywhereMap))
}

// doors are the elements of one family's maps: for ports of one address, and for those of every address of the host.
func doors(s State, f ipFamily) (exact, anywhere []nftables.SetElement) {
	for _, n := range s.Networks {
		// Names are resolved at the gateway, also when somebody publishes port 53 on every address.
		if familyOf(n.Gateway) == f {
			for _, proto := range []string{"tcp", "udp"} {
				exact = append(exact, nftables.SetElement{Key: portKey{n.Gateway, proto, 53}.bytes(), VerdictData: &expr.Verdict{Kind: expr.VerdictReturn}})
			}
		}
	}
	for _, p := range s.Publications {
		if len(p.Backends) == 0 {
			continue
		}
		for _, door := range p.key().doors() {
			if familyOf(door.ip) != f {
				continue
			}
			e := nftables.SetElement{Key: door.bytes(), VerdictData: &expr.Verdict{Kind: expr.VerdictGoto, Chain: p.key().chain()}}
			if door.ip.IsUnspecified() {
				anywhere = append(anywhere, e)
			} else {
				exact = append(exact, e)
			}
		}
	}
	return exact, anywhere
}

// addBackends makes a publication's chain, which sends connections to the backends of their own family in turn.
func (r *ruleset) addBackends(p Publication) {
	c := r.chain(p.key().chain())
	for _, f := range []ipFamily{ip4(), ip6()} {
		var backends []netip.AddrPort
		for _, b := range p.Backends {
			if familyOf(b.Addr()) == f {
				backends = append(backends, b)
			}
		}
		if len(backends) > 0 {
			r.addTurns(c, f, p.Protocol, backends)
		}
	}
}

func (r *ruleset) addTurns(c *nftables.Chain, f ipFamily, proto string, backends []netip.AddrPort) {
	count := counter(r.counted[countKey(c.Name, f.number)])
	if len(backends) == 1 {
		r.rule(c, f.is(), protocol(proto), count, f.dnatTo(backends[0]))
		return
	}
	elements := make([]nftables.SetElement, len(backends))
	for i, b := range backends {
		elements[i] = nftables.SetElement{Key: binaryutil.BigEndian.PutUint32(uint32(i)), Val: addrPortBytes(b)}
	}
	turns := r.set(nftables.Set{Anonymous: true, Constant: true, IsMap: true, KeyType: nftables.TypeInteger,
		DataType: nftables.MustConcatSetType(f.addr, nftables.TypeInetService)}, elements)
	r.rule(c, f.is(), protocol(proto), count, inTurn(turns, len(backends)), f.dnat())
}

// bytes is the key as it lies in the kernel's registers: each part fills up four bytes; the address only if it is one.
func (k portKey) bytes() []byte {
	var b []byte
	if k.ip.IsValid() && !k.ip.IsUnspecified() {
		b = k.ip.AsSlice()
	}
	return append(b, protocolNumber(k.protocol), 0, 0, 0, byte(k.port>>8), byte(k.port), 0, 0)
}

func addrPortBytes(a netip.AddrPort) []byte {
	return append(a.Addr().AsSlice(), byte(a.Port()>>8), byte(a.Port()), 0, 0)
}
