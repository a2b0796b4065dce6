package sandbox

import (
	"bytes"
	"testing"

	"github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
)

func policies(t testing.TB) (a, b *specs.LinuxSeccomp) {
	t.Helper()
	s := &specs.Spec{Process: &specs.Process{Capabilities: capabilities(Defaults{})}}
	a, err := seccomp.GetDefaultProfile(s)
	if err != nil {
		t.Fatal(err)
	}
	if b, err = seccomp.GetDefaultProfile(s); err != nil {
		t.Fatal(err)
	}
	return a, b
}

func TestAPolicyIsCompiledOnce(t *testing.T) {
	var f Filters
	a, b := policies(t)
	first, err := f.compile(a)
	if err != nil {
		t.Fatal(err)
	}
	second, err := f.compile(b)
	if err != nil || &first.Code[0] != &second.Code[0] {
		t.Errorf("an equal policy was compiled again (%v)", err)
	}
	b.Syscalls = b.Syscalls[:len(b.Syscalls)-1]
	if third, err := f.compile(b); err != nil || bytes.Equal(first.Code, third.Code) {
		t.Errorf("another policy got the filter of the first (%v)", err)
	}
}

func TestEveryFieldOfAPolicyCountsInItsKey(t *testing.T) {
	errno := uint(1)
	base := func() *specs.LinuxSeccomp {
		return &specs.LinuxSeccomp{Syscalls: []specs.LinuxSyscall{{Names: []string{"a", "b"}}}}
	}
	keys := map[[32]byte]int{policyKey(base()): -1}
	for i, change := range []func(*specs.LinuxSeccomp){
		func(p *specs.LinuxSeccomp) { p.DefaultAction = "x" },
		func(p *specs.LinuxSeccomp) { p.DefaultErrnoRet = &errno },
		func(p *specs.LinuxSeccomp) { p.Architectures = []specs.Arch{"x"} },
		func(p *specs.LinuxSeccomp) { p.Flags = []specs.LinuxSeccompFlag{"x"} },
		func(p *specs.LinuxSeccomp) { p.ListenerPath = "x" },
		func(p *specs.LinuxSeccomp) { p.ListenerMetadata = "x" },
		func(p *specs.LinuxSeccomp) { p.Syscalls[0].Names = []string{"ab"} },
		func(p *specs.LinuxSeccomp) { p.Syscalls[0].Action = "x" },
		func(p *specs.LinuxSeccomp) { p.Syscalls[0].ErrnoRet = &errno },
		func(p *specs.LinuxSeccomp) { p.Syscalls[0].Args = []specs.LinuxSeccompArg{{}} },
		func(p *specs.LinuxSeccomp) { p.Syscalls[0].Args = []specs.LinuxSeccompArg{{Index: 1}} },
		func(p *specs.LinuxSeccomp) { p.Syscalls[0].Args = []specs.LinuxSeccompArg{{Value: 1}} },
		func(p *specs.LinuxSeccomp) { p.Syscalls[0].Args = []specs.LinuxSeccompArg{{ValueTwo: 1}} },
		func(p *specs.LinuxSeccomp) { p.Syscalls[0].Args = []specs.LinuxSeccompArg{{Op: "x"}} },
	} {
		p := base()
		change(p)
		if other, some := keys[policyKey(p)]; some {
			t.Errorf("changes %d and %d make the same key", i, other)
		}
		keys[policyKey(p)] = i
	}
}

func BenchmarkCompile(b *testing.B) {
	p, _ := policies(b)
	for name, f := range map[string]*Filters{"each time": nil, "once": {}} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := f.compile(p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
