package program

import (
	"encoding/binary"
	"errors"
)

// ErrMalformed is what Decode says about bytes that Encode did not make.
var ErrMalformed = errors.New("malformed program")

// Encode appends ops to b. Every field of every operation is written, as varints and counted strings.
func Encode(b []byte, ops []Op) []byte {
	b = binary.AppendUvarint(b, uint64(len(ops)))
	for i := range ops {
		b = ops[i].encode(b)
	}
	return b
}

func (o *Op) encode(b []byte) []byte {
	b = append(b, byte(o.Kind))
	for _, s := range [...]string{o.Path, o.Source, o.Type, o.Data} {
		b = appendString(b, s)
	}
	b = binary.AppendUvarint(b, uint64(o.FD))
	b = binary.AppendUvarint(b, o.Flags)
	b = binary.AppendUvarint(b, uint64(len(o.Args)))
	for _, a := range o.Args {
		b = binary.AppendUvarint(b, a)
	}
	b = appendStrings(b, o.List)
	b = appendStrings(b, o.Env)
	return appendString(b, string(o.Bytes))
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendStrings(b []byte, list []string) []byte {
	b = binary.AppendUvarint(b, uint64(len(list)))
	for _, s := range list {
		b = appendString(b, s)
	}
	return b
}

// Decode reads what Encode wrote, all of it.
func Decode(b []byte) ([]Op, error) {
	d := decoder{b: b}
	ops := make([]Op, 0, d.count())
	for range cap(ops) {
		ops = append(ops, d.op())
		if d.bad {
			break
		}
	}
	if d.bad || len(d.b) > 0 {
		return nil, ErrMalformed
	}
	return ops, nil
}

// decoder eats b; once bad it returns zeros.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) op() Op {
	o := Op{Kind: Kind(d.byte())}
	o.Path, o.Source, o.Type, o.Data = d.string(), d.string(), d.string(), d.string()
	o.FD = int(d.uint() & 0xffff)
	o.Flags = d.uint()
	if n := d.count(); n > 0 {
		o.Args = make([]uint64, n)
		for i := range o.Args {
			o.Args[i] = d.uint()
		}
	}
	o.List, o.Env = d.strings(), d.strings()
	if s := d.string(); s != "" {
		o.Bytes = []byte(s)
	}
	return o
}

func (d *decoder) byte() byte {
	if len(d.b) == 0 {
		d.bad = true
		return 0
	}
	c := d.b[0]
	d.b = d.b[1:]
	return c
}

func (d *decoder) uint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.bad, d.b = true, nil
		return 0
	}
	d.b = d.b[n:]
	return v
}

// count reads the length of a list: each element takes a byte at least, so a longer one is malformed, and allocating
// for it would let a few bytes ask for all memory.
func (d *decoder) count() int {
	n := d.uint()
	if n > uint64(len(d.b)) {
		d.bad, d.b = true, nil
		return 0
	}
	return int(n)
}

func (d *decoder) string() string {
	n := d.count()
	s := string(d.b[:n])
	d.b = d.b[n:]
	return s
}

func (d *decoder) strings() []string {
	n := d.count()
	if n == 0 {
		return nil
	}
	list := make([]string, n)
	for i := range list {
		list[i] = d.string()
	}
	return list
}
