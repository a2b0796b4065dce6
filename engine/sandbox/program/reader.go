package program

import "unsafe"

// Text is a string where it lies: N bytes of the program from At on, and a NUL behind them.
type Text struct{ At, N int }

// Texts is a list of strings as exec takes it: N of a Reader's pointers from At on.
type Texts struct{ At, N int }

// View is an operation where it lies. Its fields are those of Op; of Args there are so many.
type View struct {
	Kind                     Kind
	Path, Source, Type, Data Text
	FD                       int
	Flags                    uint64
	Args                     int
	List, Env                Texts
	Bytes                    Text
}

// Reader reads a program where it lies. It allocates nothing, stores no pointers and calls nobody, since it also reads
// between fork and exec, where no Go runtime is left to help; and it trusts no byte, since there it would execute what it
// misread.
type Reader struct {
	program  []byte
	at, left int // of program
	numbers  []uint64
	pointers []uintptr // into program, which does not move
	taken    int       // of pointers
	bad      bool
}

// NewReader has room for a program of so many bytes whose lists have so many words, see Encode.
func NewReader(size, room int) Reader {
	return Reader{program: make([]byte, size), numbers: make([]uint64, room), pointers: make([]uintptr, room)}
}

// Fill says where to put a program of size bytes that is to be read next; 0 when there is not so much room.
//
//go:nosplit
//go:norace
func (r *Reader) Fill(size, room uint32) uintptr {
	r.at, r.left, r.bad = 0, 0, false
	if int64(size) > int64(len(r.program)) || int64(room) > int64(len(r.numbers)) {
		return 0
	}
	r.left = int(size)
	return r.Address(Text{})
}

// Next reads the next operation into v, which holds until the one after it. It returns false at the end, and at bytes that
// Encode did not make, of which Malformed tells.
//
//go:nosplit
//go:norace
func (r *Reader) Next(v *View) bool {
	if r.left == 0 || r.bad {
		return false
	}
	r.taken = 0
	v.Kind = Kind(r.byte())
	v.Path = r.text()
	v.Source = r.text()
	v.Type = r.text()
	v.Data = r.text()
	v.FD = int(r.uint() & 0xffff)
	v.Flags = r.uint()
	v.Args = r.args()
	v.List = r.list(1)
	v.Env = r.list(0)
	v.Bytes = r.text()
	return !r.bad
}

// Malformed says whether Next met bytes that Encode did not make.
func (r *Reader) Malformed() bool { return r.bad }

//go:nosplit
//go:norace
func (r *Reader) byte() byte {
	if r.left == 0 {
		r.bad = true
		return 0
	}
	c := *r.byteAt(r.at)
	r.at++
	r.left--
	return c
}

//go:nosplit
//go:norace
func (r *Reader) uint() (v uint64) {
	for shift := uint(0); shift < 64; shift += 7 {
		c := r.byte()
		v |= uint64(c&0x7f) << shift
		if c < 0x80 {
			return v
		}
	}
	r.bad = true
	return 0
}

// count reads the length of something: each element takes a byte at least.
//
//go:nosplit
//go:norace
func (r *Reader) count() int {
	n := r.uint()
	if n > uint64(r.left) || r.bad {
		r.bad = true
		return 0
	}
	return int(n)
}

// text reads a counted string and the NUL behind it.
//
//go:nosplit
//go:norace
func (r *Reader) text() Text {
	t := Text{N: r.count()}
	t.At = r.at
	r.at += t.N
	r.left -= t.N
	if r.byte() != 0 {
		r.bad = true
	}
	return t
}

//go:nosplit
//go:norace
func (r *Reader) args() int {
	n := r.count()
	if n+argsRoom > len(r.numbers) {
		r.bad = true
		return 0
	}
	for i := 0; i < n; i++ {
		*r.number(i) = r.uint()
	}
	*r.number(n) = 0
	return n
}

// list reads strings, and leaves so many pointers free in front of theirs.
//
//go:nosplit
//go:norace
func (r *Reader) list(front int) Texts {
	t := Texts{At: r.taken + front, N: r.count()}
	r.taken += t.N + listRoom
	if r.taken > len(r.pointers) {
		r.bad = true
		return Texts{}
	}
	for i := 0; i < t.N; i++ {
		r.SetText(t, i, r.Address(r.text()))
	}
	r.SetText(t, t.N, 0)
	return t
}

// Address is where t begins in memory, for a system call.
//
//go:nosplit
//go:norace
func (r *Reader) Address(t Text) uintptr { return uintptr(unsafe.Pointer(r.byteAt(t.At))) }

// Pointer is Address for who reads t.
//
//go:nosplit
//go:norace
func (r *Reader) Pointer(t Text) unsafe.Pointer { return unsafe.Pointer(r.byteAt(t.At)) }

// Byte returns byte i of t; of the NUL behind it too.
//
//go:nosplit
//go:norace
func (r *Reader) Byte(t Text, i int) byte { return *r.byteAt(t.At + i) }

// Arg returns number i of the operation that was read last, or 0 when it has not so many.
//
//go:nosplit
//go:norace
func (r *Reader) Arg(v *View, i int) uint64 {
	if i >= v.Args {
		return 0
	}
	return *r.number(i)
}

// SetHalf puts a number where half i of the first numbers lies, which are read no more: some are half as long to the kernel.
//
//go:nosplit
//go:norace
func (r *Reader) SetHalf(i int, v uint32) {
	*(*uint32)(unsafe.Add(unsafe.Pointer(r.number(0)), i*int(unsafe.Sizeof(v)))) = v
}

// Args is where the numbers lie, with a zero behind them.
//
//go:nosplit
//go:norace
func (r *Reader) Args() uintptr { return uintptr(unsafe.Pointer(r.number(0))) }

// Texts is where the pointers to the strings of t lie, from its string first on, which may be -1 for a List.
//
//go:nosplit
//go:norace
func (r *Reader) Texts(t Texts, first int) uintptr {
	return uintptr(unsafe.Pointer(r.pointer(t.At + first)))
}

// SetText has string i of t be the one at that address, with i from -1 for a List and to N for an Env.
//
//go:nosplit
//go:norace
func (r *Reader) SetText(t Texts, i int, address uintptr) { *r.pointer(t.At + i) = address }

// TextAt is string i of t.
//
//go:nosplit
//go:norace
func (r *Reader) TextAt(t Texts, i int) Text {
	s := Text{At: int(*r.pointer(t.At + i) - r.Address(Text{}))}
	for r.Byte(s, s.N) != 0 {
		s.N++
	}
	return s
}

//go:nosplit
//go:norace
func (r *Reader) byteAt(i int) *byte {
	return (*byte)(unsafe.Add(unsafe.Pointer(unsafe.SliceData(r.program)), i))
}

//go:nosplit
//go:norace
func (r *Reader) number(i int) *uint64 {
	return (*uint64)(unsafe.Add(unsafe.Pointer(unsafe.SliceData(r.numbers)), i*int(unsafe.Sizeof(r.numbers[0]))))
}

//go:nosplit
//go:norace
func (r *Reader) pointer(i int) *uintptr {
	return (*uintptr)(unsafe.Add(unsafe.Pointer(unsafe.SliceData(r.pointers)), i*int(unsafe.Sizeof(r.pointers[0]))))
}

// String copies t out of the program.
func (r *Reader) String(t Text) string { return string(r.program[t.At : t.At+t.N]) }

// Op copies an operation out of the program.
func (r *Reader) Op(v *View) Op {
	o := Op{Kind: v.Kind, Path: r.String(v.Path), Source: r.String(v.Source), Type: r.String(v.Type), Data: r.String(v.Data),
		FD: v.FD, Flags: v.Flags, List: r.strings(v.List), Env: r.strings(v.Env)}
	for i := range v.Args {
		o.Args = append(o.Args, r.Arg(v, i))
	}
	if v.Bytes.N > 0 {
		o.Bytes = []byte(r.String(v.Bytes))
	}
	return o
}

func (r *Reader) strings(t Texts) (list []string) {
	for i := range t.N {
		list = append(list, r.String(r.TextAt(t, i)))
	}
	return list
}
