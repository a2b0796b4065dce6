package logs

import (
	"bytes"
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// FuzzDecode reads any bytes as a segment, forwards and backwards. Both find the same records, and what is written
// behind them is found too.
func FuzzDecode(f *testing.F) {
	whole := appendRecord(nil, Entry{Time: at(1), Stream: Stdout, Begin: true, Data: []byte("a line\n")})
	f.Add(whole)
	f.Add(append(bytes.Clone(whole), whole[:9]...))
	f.Add(append([]byte{0xA0, 0xA1, 1, 0}, whole...))
	f.Add(appendRecord(bytes.Clone(whole), Entry{Time: at(2), Stream: Stderr, Data: whole})) // a record in a record
	f.Add(append(appendRecord(nil, countOf(1<<40, at(1))), whole...))
	f.Fuzz(func(t *testing.T, b []byte) {
		forth := forwards(b)
		for _, e := range forth {
			again, _, err := decodeRecord(appendRecord(nil, e))
			if err != nil || render(again) != render(e) {
				t.Fatalf("%q became %q, %v", render(e), render(again), err)
			}
		}
		for rest := b; ; {
			e, start, _, ok := lastRecord(rest)
			if !ok {
				break
			}
			if len(e.Data) == 0 || start >= len(rest) {
				t.Fatalf("entry %q at %d of %d", e.Data, start, len(rest))
			}
			rest = rest[:start]
		}
		last := forwards(append(bytes.Clone(b), whole...))
		if len(last) < 1 || string(last[len(last)-1].Data) != "a line\n" {
			t.Fatalf("the record behind %q is lost", b)
		}
	})
}

// forwards is how a reader reads a segment that is complete.
func forwards(b []byte) (all []Entry) {
	for len(b) > 0 {
		e, skip, size, ok := firstRecord(b)
		b = b[skip:]
		switch {
		case ok:
			all, b = append(all, e), b[size:]
		case len(b) > 0:
			b = b[1:]
		}
	}
	return all
}

// smallDisk mounts a tmpfs that has little room besides a file named ballast.
func smallDisk(t *testing.T, size int) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("naru-test", dir, "tmpfs", 0, fmt.Sprintf("size=%d", size)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	if err := os.WriteFile(dir+"/ballast", make([]byte, size/4), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}
