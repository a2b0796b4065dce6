package program

import "encoding/binary"

// Encode appends ops to b, as a Reader reads them: every field of every operation, numbers as varints, strings counted
// and with a NUL behind them, as system calls want them. room is how many words a Reader of them needs for
// their lists.
func Encode(b []byte, ops []Op) (_ []byte, room int) {
	for i := range ops {
		b = ops[i].encode(b)
		room = max(room, ops[i].room())
	}
	return b, room
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
	return append(append(binary.AppendUvarint(b, uint64(len(s))), s...), 0)
}

func appendStrings(b []byte, list []string) []byte {
	b = binary.AppendUvarint(b, uint64(len(list)))
	for _, s := range list {
		b = appendString(b, s)
	}
	return b
}

// The words that lists take beyond their elements: a zero behind numbers; a nil behind strings, and one that is free, in
// front of a command line for the name of the reaper, behind an environment for HOME.
const (
	argsRoom = 1
	listRoom = 2
)

// room is how many words the lists of an operation take: a Reader has so many for numbers, and so many for strings.
func (o *Op) room() int { return max(len(o.Args)+argsRoom, len(o.List)+len(o.Env)+2*listRoom) }
