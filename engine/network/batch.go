package network

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	handle "github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// kernel is the line to netfilter. It stays open: closing a netfilter socket waits until the kernel has thrown away all
// former tables, 10 ms and more.
type kernel struct {
	conn  *nftables.Conn
	sock  *netlink.Conn  // conn's
	flows *handle.Handle // to conntrack
}

func (k *kernel) open() error {
	if k.conn != nil {
		return nil
	}
	take := func(sock *netlink.Conn) error { k.sock = sock; return nil }
	conn, err := nftables.New(nftables.AsLasting(), nftables.WithSockOptions(take))
	if err != nil {
		return fmt.Errorf("open nftables: %w", explain(err))
	}
	k.conn = conn
	return nil
}

// close is also what follows an error: answers that nobody has read must not be taken for those of the next batch.
func (k *kernel) close() error {
	if k.flows != nil {
		k.flows.Close()
		k.flows = nil
	}
	if k.conn == nil {
		return nil
	}
	conn := k.conn
	k.conn, k.sock = nil, nil
	return conn.CloseLasting()
}

// generation asks for the number that every change of anybody's rules adds one to.
func (k *kernel) generation() (uint32, error) {
	answers, err := k.sock.Execute(netlink.Message{
		Header: netlink.Header{Type: unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_GETGEN, Flags: netlink.Request},
		Data:   make([]byte, 4), // nfgenmsg
	})
	if err != nil {
		return 0, fmt.Errorf("ask for nftables' generation: %w", err)
	}
	for _, a := range answers {
		if n, ok := parseGeneration(a.Data); ok {
			return n, nil
		}
	}
	return 0, errors.New("ask for nftables' generation: no answer")
}

func parseGeneration(b []byte) (uint32, bool) {
	if len(b) < 4 {
		return 0, false
	}
	attrs, err := netlink.UnmarshalAttributes(b[4:])
	for _, a := range attrs {
		if a.Type == unix.NFTA_GEN_ID && len(a.Data) == 4 {
			return binary.BigEndian.Uint32(a.Data), err == nil
		}
	}
	return 0, false
}

// batch gathers the messages that make one table, to be sent at once. The first error stays and is told by send.
type batch struct {
	*kernel
	table *nftables.Table
	sets  uint32
	size  int // messages so far, each of which the kernel acknowledges
	err   error
}

// Buffers for a whole batch: the kernel takes it in one piece and answers each message before we read the first.
const (
	bytesPerMessage = 2048 // what the buffers account for a message or an acknowledgement, with room
	elementsAtOnce  = 256  // elements of a set in one message: an attribute is at most 64 KiB long
)

// newBatch begins a batch that replaces the daemon's table: adding it first makes deleting it always right.
func newBatch(k *kernel, tag string) *batch {
	b := &batch{kernel: k, table: &nftables.Table{Name: tableName(tag), Family: nftables.TableFamilyINet}}
	b.conn.AddTable(b.table)
	b.conn.DelTable(b.table)
	b.size = 2
	return b
}

// addTable adds the table anew, empty.
func (b *batch) addTable() {
	b.conn.AddTable(b.table)
	b.size++
}

func (b *batch) base(name string, t nftables.ChainType, hook *nftables.ChainHook, p *nftables.ChainPriority) *nftables.Chain {
	b.size++
	return b.conn.AddChain(&nftables.Chain{Name: name, Table: b.table, Type: t, Hooknum: hook, Priority: p})
}

func (b *batch) chain(name string) *nftables.Chain {
	b.size++
	return b.conn.AddChain(&nftables.Chain{Name: name, Table: b.table})
}

func (b *batch) rule(c *nftables.Chain, matches ...match) {
	r := &nftables.Rule{Table: b.table, Chain: c}
	for _, m := range matches {
		r.Exprs = append(r.Exprs, m...)
	}
	b.conn.AddRule(r)
	b.size++
}

// set adds a set. It gets its number here and not from the library, whose counter is shared without a lock.
func (b *batch) set(s nftables.Set, elements []nftables.SetElement) *nftables.Set {
	b.sets++
	s.ID, s.Table = b.sets, b.table
	if s.Anonymous {
		s.Name = "__map%d"
	}
	first := elements[:min(len(elements), elementsAtOnce)]
	b.keep(b.conn.AddSet(&s, first))
	b.size += 2
	for rest := elements[len(first):]; len(rest) > 0; {
		n := min(len(rest), elementsAtOnce)
		b.keep(b.conn.SetAddElements(&s, rest[:n]))
		b.size++
		rest = rest[n:]
	}
	return &s
}

func (b *batch) keep(err error) {
	if b.err == nil {
		b.err = err
	}
}

// send carries the batch out, all of it or nothing.
func (b *batch) send(ctx context.Context) error {
	err := errors.Join(b.err, ctx.Err())
	if err == nil {
		err = errors.Join(b.sock.SetReadBuffer(b.size*bytesPerMessage), b.sock.SetWriteBuffer(b.size*bytesPerMessage))
	}
	if err == nil {
		err = b.conn.Flush()
	}
	if err != nil {
		return errors.Join(fmt.Errorf("replace table %s: %w", b.table.Name, explain(err)), b.close())
	}
	return nil
}

// explain says what a kernel that lacks something means by its answer.
func explain(err error) error {
	switch {
	case errors.Is(err, unix.EPROTONOSUPPORT), errors.Is(err, unix.EAFNOSUPPORT):
		return fmt.Errorf("this kernel has no nftables (CONFIG_NF_TABLES, CONFIG_NF_TABLES_INET): %w", err)
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.EOPNOTSUPP):
		return fmt.Errorf("this kernel lacks a part of nftables "+
			"(needed: NF_TABLES_INET, NFT_NAT, NFT_MASQ, NFT_CT, NFT_FIB_INET, NFT_NUMGEN; Linux 5.10 or later): %w", err)
	}
	return err
}
