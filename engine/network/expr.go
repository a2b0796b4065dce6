package network

import (
	"net"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// match is a piece of a rule: what `nft` writes in a word or two, as the expressions that the kernel runs.
type match []expr.Any

// The kernel's registers: reg1 and reg2 hold 16 bytes each. reg1 can also be had as four of 4 bytes, of which the
// first has the same place: a concatenation lies in consecutive ones.
const (
	reg1  = unix.NFT_REG_1
	reg2  = unix.NFT_REG_2
	reg1b = unix.NFT_REG32_01
	reg1c = unix.NFT_REG32_02
	reg2b = unix.NFT_REG32_05 // after an IPv6 address, which fills reg1, come reg2 and this
)

var (
	loopback  = netip.PrefixFrom(netip.AddrFrom4([4]byte{127}), 8)
	loopback6 = netip.PrefixFrom(netip.IPv6Loopback(), 128)
)

// ipFamily is what differs between IPv4 and IPv6 in a rule.
type ipFamily struct {
	number       byte
	addr         nftables.SetDatatype
	saddr, daddr uint32 // offsets in the header
	size         uint32 // of an address
	proto, port  uint32 // registers that follow an address in reg1
}

func ip4() ipFamily {
	return ipFamily{unix.NFPROTO_IPV4, nftables.TypeIPAddr, 12, 16, 4, reg1b, reg1c}
}

func ip6() ipFamily {
	return ipFamily{unix.NFPROTO_IPV6, nftables.TypeIP6Addr, 8, 24, 16, reg2, reg2b}
}

func familyOf(a netip.Addr) ipFamily {
	if a.Is6() {
		return ip6()
	}
	return ip4()
}

func accept() match     { return verdict(expr.VerdictAccept, "") }
func drop() match       { return verdict(expr.VerdictDrop, "") }
func masquerade() match { return match{&expr.Masq{}} }
func notrack() match    { return match{&expr.Notrack{}} }

// counter goes on from a count.
func counter(from expr.Counter) match { return match{&from} }

func verdict(kind expr.VerdictKind, chain string) match {
	return match{&expr.Verdict{Kind: kind, Chain: chain}}
}

// is matches packets of the family.
func (f ipFamily) is() match {
	return match{
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: reg1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: reg1, Data: []byte{f.number}},
	}
}

func protocol(name string) match {
	return match{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: reg1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: reg1, Data: []byte{protocolNumber(name)}},
	}
}

func protocolNumber(name string) byte {
	if name == "udp" {
		return unix.IPPROTO_UDP
	}
	return unix.IPPROTO_TCP
}

func saddrIn(p netip.Prefix) match { f := familyOf(p.Addr()); return f.addrIn(f.saddr, p) }
func daddrIn(p netip.Prefix) match { f := familyOf(p.Addr()); return f.addrIn(f.daddr, p) }

// addrIn also matches the family.
func (f ipFamily) addrIn(offset uint32, p netip.Prefix) match {
	m := append(f.is(), &expr.Payload{DestRegister: reg1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: f.size})
	if mask := net.CIDRMask(p.Bits(), p.Addr().BitLen()); p.Bits() < p.Addr().BitLen() {
		m = append(m, &expr.Bitwise{SourceRegister: reg1, DestRegister: reg1, Len: f.size, Mask: mask, Xor: make([]byte, f.size)})
	}
	return append(m, &expr.Cmp{Op: expr.CmpOpEq, Register: reg1, Data: p.Addr().AsSlice()})
}

func daddrIsLocal() match    { return daddrType(expr.CmpOpEq) }
func daddrIsNotLocal() match { return daddrType(expr.CmpOpNeq) }

func daddrType(op expr.CmpOp) match {
	return match{
		&expr.Fib{Register: reg1, FlagDADDR: true, ResultADDRTYPE: true},
		&expr.Cmp{Op: op, Register: reg1, Data: native32(unix.RTN_LOCAL)},
	}
}

func iifIn(s *nftables.Set) match { return nameIn(expr.MetaKeyIIFNAME, s) }
func oifIn(s *nftables.Set) match { return nameIn(expr.MetaKeyOIFNAME, s) }

func nameIn(key expr.MetaKey, s *nftables.Set) match {
	return match{
		&expr.Meta{Key: key, Register: reg1},
		&expr.Lookup{SourceRegister: reg1, SetName: s.Name, SetID: s.ID},
	}
}

// iifOifIn looks a pair up: the two names lie one after the other in the registers.
func iifOifIn(s *nftables.Set) match {
	return match{
		&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: reg1},
		&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: reg2},
		&expr.Lookup{SourceRegister: reg1, SetName: s.Name, SetID: s.ID},
	}
}

func oifIs(bridge string) match    { return oifCompare(expr.CmpOpEq, bridge) }
func oifIsNot(bridge string) match { return oifCompare(expr.CmpOpNeq, bridge) }

func oifCompare(op expr.CmpOp, bridge string) match {
	return match{
		&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: reg1},
		&expr.Cmp{Op: op, Register: reg1, Data: ifname(bridge)},
	}
}

func ctState(bits uint32) match { return ctHas(expr.CtKeySTATE, bits) }

// ctDNATed matches packets of connections whose destination was translated, that is, of published ports.
func ctDNATed() match {
	const dstNAT = 1 << 5 // IPS_DST_NAT, linux/netfilter/nf_conntrack_common.h
	return ctHas(expr.CtKeySTATUS, dstNAT)
}

func ctHas(key expr.CtKey, bits uint32) match {
	return match{
		&expr.Ct{Key: key, Register: reg1},
		&expr.Bitwise{SourceRegister: reg1, DestRegister: reg1, Len: 4, Mask: native32(bits), Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: reg1, Data: make([]byte, 4)},
	}
}

// portVmap goes where the map says for the packet's destination, protocol and port.
func (f ipFamily) portVmap(m *nftables.Set) match {
	return match{
		&expr.Payload{DestRegister: reg1, Base: expr.PayloadBaseNetworkHeader, Offset: f.daddr, Len: f.size},
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: f.proto},
		&expr.Payload{DestRegister: f.port, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		&expr.Lookup{SourceRegister: reg1, SetName: m.Name, SetID: m.ID, IsDestRegSet: true, DestRegister: unix.NFT_REG_VERDICT},
	}
}

// anyPortVmap goes where the map says for the packet's protocol and port.
func anyPortVmap(m *nftables.Set) match {
	return match{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: reg1},
		&expr.Payload{DestRegister: reg1b, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		&expr.Lookup{SourceRegister: reg1, SetName: m.Name, SetID: m.ID, IsDestRegSet: true, DestRegister: unix.NFT_REG_VERDICT},
	}
}

// inTurn loads the address and port whose turn it is. The number is turned round because the library declares the keys
// of such a map to be in network order: with the machine's own, nft would list them as 16777216, 33554432, …, and a
// ruleset saved and restored would send connections nowhere.
func inTurn(m *nftables.Set, n int) match {
	return match{
		&expr.Numgen{Register: reg1, Modulus: uint32(n), Type: unix.NFT_NG_INCREMENTAL},
		&expr.Byteorder{SourceRegister: reg1, DestRegister: reg1, Op: expr.ByteorderHton, Len: 4, Size: 4},
		&expr.Lookup{SourceRegister: reg1, SetName: m.Name, SetID: m.ID, IsDestRegSet: true, DestRegister: reg1},
	}
}

// dnat sends the connection to the address and port in the registers.
func (f ipFamily) dnat() match {
	return match{&expr.NAT{Type: expr.NATTypeDestNAT, Family: uint32(f.number), RegAddrMin: reg1, RegProtoMin: f.proto}}
}

func (f ipFamily) dnatTo(a netip.AddrPort) match {
	return append(match{
		&expr.Immediate{Register: reg1, Data: a.Addr().AsSlice()},
		&expr.Immediate{Register: f.proto, Data: binaryutil.BigEndian.PutUint16(a.Port())},
	}, f.dnat()...)
}

func native32(n uint32) []byte { return binaryutil.NativeEndian.PutUint32(n) }

// ifname is an interface's name as the kernel compares it: 16 bytes, filled with zeros.
func ifname(name string) []byte {
	b := make([]byte, unix.IFNAMSIZ)
	copy(b, name)
	return b
}
