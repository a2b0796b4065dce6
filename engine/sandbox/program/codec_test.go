package program

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
)

var sample = []Op{
	{Kind: Layers},
	{Kind: Attach, Path: "0", FD: 3},
	{Kind: Mount, Path: "/proc", Source: "proc", Type: "proc", Flags: 14, Data: "hidepid=2"},
	{Kind: Caps, Args: []uint64{1 << 40, 0, 7}},
	{Kind: Seccomp, Bytes: []byte{0, 1, 2}},
	{Kind: Exec, List: []string{"sh", "-c", ""}, Env: []string{"A=b"}, Data: "/bin"},
}

// read reads a program as the init does.
func read(b []byte, room int) (ops []Op, ok bool) {
	r := NewReader(len(b), room)
	if r.Fill(uint32(len(b)), uint32(room)) != 0 {
		copy(r.program, b)
	}
	var v View
	for r.Next(&v) {
		ops = append(ops, r.Op(&v))
	}
	return ops, !r.Malformed()
}

func TestRoundTrip(t *testing.T) {
	b, room := Encode(nil, sample)
	if got, ok := read(b, room); !ok || !reflect.DeepEqual(got, sample) {
		t.Errorf("got %v, %v", got, ok)
	}
}

// TestATruncatedOperationIsMalformed: a program may end behind an operation only.
func TestATruncatedOperationIsMalformed(t *testing.T) {
	whole, room := Encode(nil, sample)
	ends := map[int]bool{}
	for n := range sample {
		b, _ := Encode(nil, sample[:n])
		ends[len(b)] = true
	}
	for n := range whole {
		if _, ok := read(whole[:n], room); ok != ends[n] {
			t.Fatalf("first %d bytes: well-formed %v", n, ok)
		}
	}
	if _, ok := read(append(whole, 0), room); ok {
		t.Error("with a byte too many")
	}
	if _, ok := read(whole, room-1); ok {
		t.Error("with a word too little room")
	}
}

// FuzzDecodeFailure: what an init said is read as it was said, whoever wrote it.
func FuzzDecodeFailure(f *testing.F) {
	f.Add(Failure{Kind: Mount, Errno: 13, Text: "/proc"}.Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if said, err := DecodeFailure(b); err == nil && !bytes.Equal(said.Encode(), b) {
			t.Errorf("%q became %+v", b, said)
		}
	})
}

// FuzzReader: whatever the bytes, what is read lies in them, and reads the same once it is encoded again.
func FuzzReader(f *testing.F) {
	b, room := Encode(nil, sample)
	f.Add(b, room)
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0x0f}, 9)
	f.Fuzz(func(t *testing.T, b []byte, room int) {
		if room < 0 || room > 1<<12 {
			return
		}
		ops, ok := read(b, room)
		if !ok || slices.ContainsFunc(ops, hasNUL) { // which ends a string to the kernel
			return
		}
		again, room := Encode(nil, ops)
		if got, ok := read(again, room); !ok || !reflect.DeepEqual(got, ops) {
			t.Fatalf("%v became %v", ops, got)
		}
	})
}

func hasNUL(o Op) bool { return strings.Contains(fmt.Sprint(o), "\x00") }
