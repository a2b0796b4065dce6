// Package seccomp compiles an OCI seccomp policy to the BPF that the kernel runs at every system call. It receives
// names, errnos and argument rules, owns the numbers of the system calls, and hands on bytes that an init loads without
// understanding them.
//
// A filter is for the native architecture: a call of any other (32-bit on amd64) kills the process, and an x32 call
// fails with ENOSYS, whatever the policy says of them. System calls newer than all that the policy names fail with
// ENOSYS too when it would refuse them, so that a C library falls back to older ones, as runc does.
package seccomp

//go:generate go run gen.go

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// Filter is a compiled policy.
type Filter struct {
	Code  []byte // struct sock_filter, one after the other
	Flags uint64 // SECCOMP_FILTER_FLAG_*
}

// maxInstructions is the kernel's BPF_MAXINSNS.
const maxInstructions = 4096

// Compile compiles a policy.
func Compile(p *specs.LinuxSeccomp) (Filter, error) {
	program, err := compile(p)
	if err != nil {
		return Filter{}, err
	}
	raw, err := bpf.Assemble(program)
	if err != nil {
		return Filter{}, fmt.Errorf("assemble: %w", err)
	}
	if len(raw) > maxInstructions {
		return Filter{}, fmt.Errorf("the policy makes %d instructions, the kernel takes %d", len(raw), maxInstructions)
	}
	flags, err := compileFlags(p)
	if err != nil {
		return Filter{}, err
	}
	f := Filter{Code: make([]byte, 0, 8*len(raw)), Flags: flags}
	for _, r := range raw {
		f.Code = binary.NativeEndian.AppendUint16(f.Code, r.Op)
		f.Code = append(f.Code, r.Jt, r.Jf)
		f.Code = binary.NativeEndian.AppendUint32(f.Code, r.K)
	}
	return f, nil
}

// compileFlags asks for the descriptor of the notifications where the policy makes some. Every filter is for all threads
// of a program that has not begun, so that TSYNC says nothing new.
func compileFlags(p *specs.LinuxSeccomp) (uint64, error) {
	var bits uint64
	if notifies(p) {
		bits |= unix.SECCOMP_FILTER_FLAG_NEW_LISTENER
	}
	for _, f := range p.Flags {
		switch f {
		case "SECCOMP_FILTER_FLAG_TSYNC":
		case specs.LinuxSeccompFlagLog:
			bits |= unix.SECCOMP_FILTER_FLAG_LOG
		case specs.LinuxSeccompFlagSpecAllow:
			bits |= unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW
		case specs.LinuxSeccompFlagWaitKillableRecv:
			bits |= unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
		default:
			return 0, fmt.Errorf("flag %s is not supported", f)
		}
	}
	return bits, nil
}

func notifies(p *specs.LinuxSeccomp) bool {
	return slices.ContainsFunc(p.Syscalls, func(s specs.LinuxSyscall) bool { return s.Action == specs.ActNotify })
}

// checkNotify wants somebody to listen, and the calls free that hand the descriptor over before anybody can answer.
func checkNotify(p *specs.LinuxSeccomp) error {
	switch {
	case p.ListenerMetadata != "" && p.ListenerPath == "":
		return fmt.Errorf("listenerMetadata needs a listenerPath")
	case p.DefaultAction == specs.ActNotify:
		return fmt.Errorf("%s cannot be the default action: nobody could begin to listen", specs.ActNotify)
	case notifies(p) && p.ListenerPath == "":
		return fmt.Errorf("%s needs a listenerPath", specs.ActNotify)
	}
	for _, s := range p.Syscalls {
		if s.Action == specs.ActNotify && slices.Contains(s.Names, "sendmsg") {
			return fmt.Errorf("%s cannot be for sendmsg, which hands the listener its descriptor", specs.ActNotify)
		}
	}
	return nil
}

// The places of struct seccomp_data that a filter reads.
const (
	offNumber = 0
	offArch   = 4
	offArgs   = 16
)

func compile(p *specs.LinuxSeccomp) ([]bpf.Instruction, error) {
	if err := checkNotify(p); err != nil {
		return nil, err
	}
	if len(p.Architectures) > 0 && !slices.Contains(p.Architectures, specArch) {
		return nil, fmt.Errorf("architectures %v do not include this machine's, %s", p.Architectures, specArch)
	}
	ranges, err := split(p)
	if err != nil {
		return nil, err
	}
	program := []bpf.Instruction{
		bpf.LoadAbsolute{Off: offArch, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: nativeArch, SkipTrue: 1},
		bpf.RetConstant{Val: unix.SECCOMP_RET_KILL_PROCESS},
		bpf.LoadAbsolute{Off: offNumber, Size: 4},
	}
	return append(program, search(ranges)...), nil
}

// span is a run of system call numbers, from one to the next span's, with the same verdict.
type span struct {
	from    uint32
	rules   []rule // tried in order, for one system call
	verdict uint32 // when no rule matches
}

// split sorts all numbers into spans.
func split(p *specs.LinuxSeccomp) ([]span, error) {
	fallback, err := verdict(p.DefaultAction, p.DefaultErrnoRet)
	if err != nil {
		return nil, fmt.Errorf("default action: %w", err)
	}
	named, last, err := collect(p.Syscalls, fallback)
	if err != nil {
		return nil, err
	}
	var spans []span
	for n := uint32(0); n <= last; n++ {
		s, some := named[n]
		if !some {
			s = span{verdict: fallback}
		}
		s.from = n
		if k := len(spans); k > 0 && len(s.rules) == 0 && len(spans[k-1].rules) == 0 && spans[k-1].verdict == s.verdict {
			continue
		}
		spans = append(spans, s)
	}
	newer := fallback
	if fallback&unix.SECCOMP_RET_ACTION_FULL == unix.SECCOMP_RET_ERRNO {
		newer = enosys
	}
	return append(spans, span{from: last + 1, verdict: newer}, span{from: foreignFrom, verdict: enosys}), nil
}

const enosys = unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)

// collect gathers what the policy says of each number. A name that this architecture does not have is passed over:
// one policy serves all. The first rule that matches a call counts, so those after one without arguments do not.
func collect(calls []specs.LinuxSyscall, fallback uint32) (named map[uint32]span, last uint32, err error) {
	named = make(map[uint32]span, len(numbers()))
	decided := make(map[uint32]bool, len(numbers()))
	for _, call := range calls {
		if len(call.Names) == 0 {
			return nil, 0, fmt.Errorf("a rule of action %s names no system call", call.Action)
		}
		v, err := verdict(call.Action, call.ErrnoRet)
		if err != nil {
			return nil, 0, fmt.Errorf("%v: %w", call.Names, err)
		}
		rules, err := makeRules(call.Args, v)
		if err != nil {
			return nil, 0, fmt.Errorf("%v: %w", call.Names, err)
		}
		for _, name := range call.Names {
			n, some := numbers()[name]
			if !some || decided[n] {
				continue
			}
			s, some := named[n]
			if !some {
				s.verdict = fallback
			}
			s.rules = append(s.rules, rules...)
			if len(call.Args) == 0 {
				s.verdict, decided[n] = v, true
			}
			named[n] = s
			last = max(last, n)
		}
	}
	return named, last, nil
}

// verdict is what a filter returns for an action.
func verdict(action specs.LinuxSeccompAction, errno *uint) (uint32, error) {
	data := uint32(unix.EPERM)
	if errno != nil {
		if action != specs.ActErrno && action != specs.ActTrace {
			return 0, fmt.Errorf("action %s has no errnoRet", action)
		}
		data = uint32(*errno) & unix.SECCOMP_RET_DATA
	}
	switch action {
	case specs.ActAllow:
		return unix.SECCOMP_RET_ALLOW, nil
	case specs.ActErrno:
		return unix.SECCOMP_RET_ERRNO | data, nil
	case specs.ActKill, specs.ActKillThread:
		return unix.SECCOMP_RET_KILL_THREAD, nil
	case specs.ActKillProcess:
		return unix.SECCOMP_RET_KILL_PROCESS, nil
	case specs.ActTrap:
		return unix.SECCOMP_RET_TRAP, nil
	case specs.ActTrace:
		return unix.SECCOMP_RET_TRACE | data, nil
	case specs.ActNotify:
		return unix.SECCOMP_RET_USER_NOTIF, nil
	case specs.ActLog:
		return unix.SECCOMP_RET_LOG, nil
	}
	return 0, fmt.Errorf("action %q is not supported", action)
}

// search finds the span of the number in the accumulator by halving. Jumps of BPF go forward only, and conditional
// ones at most 255 instructions far: a far one takes a step over an unconditional jump.
func search(spans []span) []bpf.Instruction {
	if len(spans) == 1 {
		return spans[0].compile()
	}
	half := len(spans) / 2
	low, high := search(spans[:half]), search(spans[half:])
	var program []bpf.Instruction
	if len(low) <= 255 {
		program = append(program, bpf.JumpIf{Cond: bpf.JumpGreaterOrEqual, Val: spans[half].from, SkipTrue: uint8(len(low))})
	} else {
		program = append(program, bpf.JumpIf{Cond: bpf.JumpGreaterOrEqual, Val: spans[half].from, SkipFalse: 1}, bpf.Jump{Skip: uint32(len(low))})
	}
	return append(append(program, low...), high...)
}

func (s span) compile() []bpf.Instruction {
	var program []bpf.Instruction
	for _, r := range s.rules {
		program = append(program, r.compile()...)
	}
	return append(program, bpf.RetConstant{Val: s.verdict})
}
