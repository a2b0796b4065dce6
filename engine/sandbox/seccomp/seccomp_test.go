package seccomp

import (
	"encoding/binary"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	moby "github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// call is a system call as a filter sees it.
type call struct {
	arch, number uint32
	args         [6]uint64
}

// run interprets the compiled policy. The virtual machine of x/net/bpf reads words as the network has them, so the
// data is laid out that way: word by word, the low half of an argument first.
func run(t *testing.T, p *specs.LinuxSeccomp, c call) uint32 {
	t.Helper()
	program, err := compile(p)
	if err != nil {
		t.Fatal(err)
	}
	vm, err := bpf.NewVM(program)
	if err != nil {
		t.Fatal(err)
	}
	data := binary.BigEndian.AppendUint32(nil, c.number)
	data = binary.BigEndian.AppendUint32(data, c.arch)
	data = append(data, make([]byte, 8)...)
	for _, a := range c.args {
		data = binary.BigEndian.AppendUint32(data, uint32(a))
		data = binary.BigEndian.AppendUint32(data, uint32(a>>32))
	}
	v, err := vm.Run(data)
	if err != nil {
		t.Fatal(err)
	}
	return uint32(v)
}

// judge says what a policy means, without compiling it.
func judge(p *specs.LinuxSeccomp, c call, name string) uint32 {
	for _, s := range p.Syscalls {
		for _, n := range s.Names {
			if n != name {
				continue
			}
			v, _ := verdict(s.Action, s.ErrnoRet)
			if len(s.Args) == 0 {
				return v
			}
			holds := true
			for _, a := range s.Args {
				holds = holds && test(a, c.args[a.Index])
			}
			if holds {
				return v
			}
		}
	}
	v, _ := verdict(p.DefaultAction, p.DefaultErrnoRet)
	return v
}

func test(a specs.LinuxSeccompArg, v uint64) bool {
	switch a.Op {
	case specs.OpEqualTo:
		return v == a.Value
	case specs.OpNotEqual:
		return v != a.Value
	case specs.OpMaskedEqual:
		return v&a.Value == a.ValueTwo
	case specs.OpGreaterThan:
		return v > a.Value
	case specs.OpGreaterEqual:
		return v >= a.Value
	case specs.OpLessThan:
		return v < a.Value
	}
	return v <= a.Value
}

func dockerPolicy(t testing.TB) *specs.LinuxSeccomp {
	p, err := moby.GetDefaultProfile(&specs.Spec{Process: &specs.Process{Capabilities: &specs.LinuxCapabilities{}}})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestDockersPolicyMeansWhatItSaysForEveryCall(t *testing.T) {
	p := dockerPolicy(t)
	last := uint32(0)
	for _, s := range p.Syscalls {
		for _, n := range s.Names {
			last = max(last, numbers()[n])
		}
	}
	values := []uint64{0, 1, 8, 38, 40, 41, 131072, 0xffffffff, 1 << 32, unix.CLONE_NEWUSER, unix.CLONE_NEWNS | unix.CLONE_VM}
	for name, number := range numbers() {
		for _, v := range values {
			c := call{arch: nativeArch, number: number, args: [6]uint64{v, v, v, v, v, v}}
			want := judge(p, c, name)
			if number > last {
				want = enosys
			}
			if got := run(t, p, c); got != want {
				t.Fatalf("%s(%#x): %#x, want %#x", name, v, got, want)
			}
		}
	}
}

func TestForeignCallsAreRefused(t *testing.T) {
	p := &specs.LinuxSeccomp{DefaultAction: specs.ActAllow}
	if got := run(t, p, call{arch: unix.AUDIT_ARCH_I386}); got != unix.SECCOMP_RET_KILL_PROCESS {
		t.Errorf("another architecture: %#x", got)
	}
	if got := run(t, p, call{arch: nativeArch, number: 0x40000001}); got != enosys {
		t.Errorf("x32: %#x", got)
	}
	if got := run(t, p, call{arch: nativeArch, number: 5000}); got != unix.SECCOMP_RET_ALLOW {
		t.Errorf("an unknown call of a policy that allows: %#x", got)
	}
}

func TestWhatCannotBeCompiledIsNamed(t *testing.T) {
	for want, p := range map[string]*specs.LinuxSeccomp{
		"SCMP_ACT_NOTIFY":        {DefaultAction: specs.ActNotify},
		"listenerMetadata needs": {DefaultAction: specs.ActAllow, ListenerMetadata: "x"},
		"has no errnoRet":        {DefaultAction: specs.ActAllow, DefaultErrnoRet: new(uint)},
		"names no system call":   {DefaultAction: specs.ActAllow, Syscalls: []specs.LinuxSyscall{{Action: specs.ActErrno}}},
		"needs a listenerPath":   {DefaultAction: specs.ActAllow, Syscalls: []specs.LinuxSyscall{{Names: []string{"mkdir"}, Action: specs.ActNotify}}},
		"cannot be for sendmsg":  {DefaultAction: specs.ActAllow, ListenerPath: "/x", Syscalls: []specs.LinuxSyscall{{Names: []string{"sendmsg"}, Action: specs.ActNotify}}},
		"the default action":     {DefaultAction: specs.ActNotify, ListenerPath: "/x"},
		"SCMP_ARCH_PPC":          {DefaultAction: specs.ActAllow, Architectures: []specs.Arch{specs.ArchPPC}},
		"argument 6": {DefaultAction: specs.ActAllow, Syscalls: []specs.LinuxSyscall{
			{Names: []string{"read"}, Action: specs.ActErrno, Args: []specs.LinuxSeccompArg{{Index: 6, Op: specs.OpEqualTo}}}}},
		"SECCOMP_FILTER_FLAG_NOBODY_KNOWS": {DefaultAction: specs.ActAllow, Flags: []specs.LinuxSeccompFlag{"SECCOMP_FILTER_FLAG_NOBODY_KNOWS"}},
	} {
		if _, err := Compile(p); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want an error about %s, got %v", want, err)
		}
	}
}

func FuzzArguments(f *testing.F) {
	f.Add(uint64(5), uint64(0), uint64(1)<<40, uint8(0))
	f.Add(uint64(0xff), uint64(3), uint64(0xf3), uint8(6))
	ops := []specs.LinuxSeccompOperator{specs.OpEqualTo, specs.OpNotEqual, specs.OpGreaterThan, specs.OpGreaterEqual,
		specs.OpLessThan, specs.OpLessEqual, specs.OpMaskedEqual}
	f.Fuzz(func(t *testing.T, value, two, arg uint64, op uint8) {
		p := &specs.LinuxSeccomp{DefaultAction: specs.ActErrno, Syscalls: []specs.LinuxSyscall{{
			Names: []string{"read", "write"}, Action: specs.ActAllow, Args: []specs.LinuxSeccompArg{
				{Index: 2, Value: value, ValueTwo: two, Op: ops[int(op)%len(ops)]},
				{Index: 0, Value: two, ValueTwo: value, Op: ops[int(op/16)%len(ops)]},
			},
		}}}
		for _, a := range []uint64{arg, value, value + 1, value - 1, two, value & two} {
			c := call{arch: nativeArch, number: numbers()["write"], args: [6]uint64{a, 0, arg}}
			if got, want := run(t, p, c), judge(p, c, "write"); got != want {
				t.Fatalf("%+v: %#x, want %#x", c, got, want)
			}
		}
	})
}

// FuzzCompile: a policy is refused, or it becomes a program that ends, and that says of a call what the policy says.
func FuzzCompile(f *testing.F) {
	b, err := json.Marshal(dockerPolicy(f))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b, uint64(1))
	f.Add([]byte(`{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":38,"architectures":["SCMP_ARCH_X86_64","SCMP_ARCH_X86"],"flags":["SECCOMP_FILTER_FLAG_LOG"],
"syscalls":[{"names":["write","nosuch"],"action":"SCMP_ACT_ALLOW","args":[{"index":1,"value":5,"valueTwo":1,"op":"SCMP_CMP_MASKED_EQ"}]},{"names":["read"],"action":"SCMP_ACT_KILL_PROCESS"}]}`), uint64(1)<<33)
	f.Fuzz(func(t *testing.T, b []byte, arg uint64) {
		p := &specs.LinuxSeccomp{}
		if json.Unmarshal(b, p) != nil {
			return
		}
		if _, err := Compile(p); err != nil {
			return
		}
		for _, name := range []string{"read", "write", "clone3"} {
			c := call{arch: nativeArch, number: numbers()[name], args: [6]uint64{arg, arg + 1, arg >> 1, arg << 1, 0, 1}}
			want := judge(p, c, name)
			if newer(p, c.number) && want&unix.SECCOMP_RET_ACTION_FULL == unix.SECCOMP_RET_ERRNO {
				want = enosys
			}
			if got := run(t, p, c); got != want {
				t.Fatalf("%s: %#x, want %#x", name, got, want)
			}
		}
	})
}

// newer reports whether the policy was written before there was that call: it names none as late.
func newer(p *specs.LinuxSeccomp, number uint32) bool {
	return !slices.ContainsFunc(p.Syscalls, func(s specs.LinuxSyscall) bool {
		return slices.ContainsFunc(s.Names, func(name string) bool { n, known := numbers()[name]; return known && n >= number })
	}) && number > 0
}

func BenchmarkCompileDockersPolicy(b *testing.B) {
	p := dockerPolicy(b)
	for b.Loop() {
		f, err := Compile(p)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(len(f.Code)/8), "instructions")
	}
}
