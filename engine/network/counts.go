package network

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// A new table would begin to count from nothing each time that any container comes or goes. So it goes on with what the
// former one has counted. What passes between the two is not counted: the numbers are for people.

// countKey tells the counters of a chain apart, which has one for each family.
func countKey(chain string, family byte) string { return fmt.Sprint(chain, "/", family) }

// counts reads what the rules of the daemon's table have counted, by countKey: one list for all of them.
func (k *kernel) counts(tag string) (map[string]expr.Counter, error) {
	table, err := netlink.MarshalAttributes([]netlink.Attribute{{Type: unix.NFTA_RULE_TABLE, Data: []byte(tableName(tag) + "\x00")}})
	if err != nil {
		return nil, err
	}
	rules, err := k.sock.Execute(netlink.Message{
		Header: netlink.Header{Type: unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_GETRULE, Flags: netlink.Request | netlink.Dump},
		Data:   append([]byte{unix.NFPROTO_INET, unix.NFNETLINK_V0, 0, 0}, table...),
	})
	if errors.Is(err, unix.ENOENT) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read what rules have counted: %w", err)
	}
	counted := map[string]expr.Counter{}
	for _, r := range rules {
		if chain, family, c, ok := parseRuleCount(r.Data); ok {
			counted[countKey(chain, family)] = c
		}
	}
	return counted, nil
}

// parseRuleCount finds a rule's chain and its counter, if it has one, and the family, which its first comparison is with.
func parseRuleCount(b []byte) (chain string, family byte, count expr.Counter, ok bool) {
	if len(b) < 4 {
		return "", 0, count, false
	}
	for _, a := range attributes(b[4:]) { // after nfgenmsg
		switch a.Type {
		case unix.NFTA_RULE_CHAIN:
			chain = unix.ByteSliceToString(a.Data)
		case unix.NFTA_RULE_EXPRESSIONS:
			for _, e := range attributes(a.Data) {
				if c, is := parseCounter(e.Data); is {
					count, ok = c, true
				}
				if f, is := parseFamily(e.Data); is && family == 0 {
					family = f
				}
			}
		}
	}
	return chain, family, count, ok
}

// parseFamily reads one expression, when it is a comparison with a byte.
func parseFamily(b []byte) (family byte, ok bool) {
	name := ""
	for _, a := range attributes(b) {
		switch a.Type {
		case unix.NFTA_EXPR_NAME:
			name = unix.ByteSliceToString(a.Data)
		case unix.NFTA_EXPR_DATA:
			for _, v := range attributes(a.Data) {
				if value := attributes(v.Data); v.Type == unix.NFTA_CMP_DATA && len(value) == 1 && len(value[0].Data) == 1 {
					family = value[0].Data[0]
				}
			}
		}
	}
	return family, name == "cmp" && family != 0
}

// parseCounter reads one expression, when it is a counter.
func parseCounter(b []byte) (count expr.Counter, ok bool) {
	for _, a := range attributes(b) {
		switch a.Type {
		case unix.NFTA_EXPR_NAME:
			ok = unix.ByteSliceToString(a.Data) == "counter"
		case unix.NFTA_EXPR_DATA:
			for _, v := range attributes(a.Data) {
				switch {
				case len(v.Data) != 8:
				case v.Type == unix.NFTA_COUNTER_BYTES:
					count.Bytes = binary.BigEndian.Uint64(v.Data)
				case v.Type == unix.NFTA_COUNTER_PACKETS:
					count.Packets = binary.BigEndian.Uint64(v.Data)
				}
			}
		}
	}
	return count, ok
}

// attributes are those that can be read; of the kernel's all can.
func attributes(b []byte) []netlink.Attribute {
	attrs, err := netlink.UnmarshalAttributes(b)
	if err != nil {
		return nil
	}
	for i := range attrs {
		attrs[i].Type &^= unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER
	}
	return attrs
}
