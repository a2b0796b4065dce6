package program

import (
	"bytes"
	"errors"
	"reflect"
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

func TestRoundTrip(t *testing.T) {
	got, err := Decode(Encode(nil, sample))
	if err != nil || !reflect.DeepEqual(got, sample) {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestEveryTruncationIsMalformed(t *testing.T) {
	whole := Encode(nil, sample)
	for n := range whole {
		if _, err := Decode(whole[:n]); !errors.Is(err, ErrMalformed) {
			t.Fatalf("first %d bytes: %v", n, err)
		}
	}
	if _, err := Decode(append(whole, 0)); !errors.Is(err, ErrMalformed) {
		t.Errorf("with a byte too many: %v", err)
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

func FuzzDecode(f *testing.F) {
	f.Add(Encode(nil, sample))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, b []byte) {
		ops, err := Decode(b)
		if err != nil {
			return
		}
		again, err := Decode(Encode(nil, ops))
		if err != nil {
			t.Fatalf("encoding %v: %v", ops, err)
		}
		if !bytes.Equal(Encode(nil, again), Encode(nil, ops)) {
			t.Fatalf("%v became %v", ops, again)
		}
	})
}
