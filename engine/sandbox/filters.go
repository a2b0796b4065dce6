package sandbox

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"io"
	"sync"

	"github.com/opencontainers/runtime-spec/specs-go"

	"naru/engine/sandbox/seccomp"
)

// Filters remembers compiled seccomp policies by their content: an engine's containers share a few, and compiling one
// costs as much as a fork. The zero value is ready, and safe for several goroutines.
type Filters struct {
	mu   sync.Mutex
	made map[[sha256.Size]byte]seccomp.Filter
}

// maxFilters bounds the memory of policies that clients bring along (30 KB each).
const maxFilters = 64

func (f *Filters) compile(p *specs.LinuxSeccomp) (seccomp.Filter, error) {
	if f == nil {
		return seccomp.Compile(p)
	}
	key := policyKey(p)
	f.mu.Lock()
	defer f.mu.Unlock()
	if filter, some := f.made[key]; some {
		return filter, nil
	}
	filter, err := seccomp.Compile(p)
	if err != nil {
		return filter, err
	}
	if f.made == nil || len(f.made) >= maxFilters {
		f.made = map[[sha256.Size]byte]seccomp.Filter{}
	}
	f.made[key] = filter
	return filter, nil
}

// policyKey is a digest of all that Compile reads. Each list is counted and each word measured, so that two policies
// cannot run into the same bytes.
func policyKey(p *specs.LinuxSeccomp) (key [sha256.Size]byte) {
	d := digest{sha256.New(), make([]byte, 0, 4096)}
	d.word(string(p.DefaultAction))
	d.optional(p.DefaultErrnoRet)
	d.word(p.ListenerPath)
	d.word(p.ListenerMetadata)
	d.number(uint64(len(p.Architectures)))
	for _, a := range p.Architectures {
		d.word(string(a))
	}
	d.number(uint64(len(p.Flags)))
	for _, f := range p.Flags {
		d.word(string(f))
	}
	d.number(uint64(len(p.Syscalls)))
	for i := range p.Syscalls {
		d.syscall(&p.Syscalls[i])
	}
	d.flush()
	d.sum.Sum(key[:0])
	return key
}

// digest collects small words before it hashes them.
type digest struct {
	sum hash.Hash
	b   []byte
}

func (d *digest) syscall(s *specs.LinuxSyscall) {
	d.word(string(s.Action))
	d.optional(s.ErrnoRet)
	d.number(uint64(len(s.Names)))
	for _, n := range s.Names {
		d.word(n)
	}
	d.number(uint64(len(s.Args)))
	for _, a := range s.Args {
		d.number(uint64(a.Index))
		d.number(a.Value)
		d.number(a.ValueTwo)
		d.word(string(a.Op))
	}
	if len(d.b) > cap(d.b)/2 {
		d.flush()
	}
}

func (d *digest) word(s string) {
	d.number(uint64(len(s)))
	d.b = append(d.b, s...)
}

func (d *digest) optional(n *uint) {
	if n == nil {
		d.number(0)
		return
	}
	d.number(1 + uint64(*n))
}

func (d *digest) number(n uint64) { d.b = binary.AppendUvarint(d.b, n) }

func (d *digest) flush() {
	_, _ = io.Writer(d.sum).Write(d.b) // a hash never fails
	d.b = d.b[:0]
}
