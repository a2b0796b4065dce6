package seccomp

import (
	"fmt"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/net/bpf"
)

// rule gives a verdict when all its tests on arguments hold.
type rule struct {
	tests   []specs.LinuxSeccompArg
	verdict uint32
}

// makeRules makes one rule of all tests or, when two are about the same argument, a rule of each: what policies mean
// by that, since libseccomp cannot join them, is "any".
func makeRules(args []specs.LinuxSeccompArg, verdict uint32) ([]rule, error) {
	if len(args) == 0 {
		return nil, nil
	}
	var seen [6]bool
	apart := false
	for _, a := range args {
		if a.Index > 5 {
			return nil, fmt.Errorf("argument %d: a system call has 0 to 5", a.Index)
		}
		apart = apart || seen[a.Index]
		seen[a.Index] = true
		if _, err := steps(a); err != nil {
			return nil, err
		}
	}
	if !apart {
		return []rule{{args, verdict}}, nil
	}
	var rules []rule
	for i := range args {
		rules = append(rules, rule{args[i : i+1], verdict})
	}
	return rules, nil
}

// target is where a jump of a test leads.
type target int

const (
	next target = iota // the instruction after it
	pass               // the next test
	fail               // the next rule
)

// step is one instruction of a test: a load, a mask, or a comparison with two targets.
type step struct {
	plain   bpf.Instruction
	cond    bpf.JumpTest
	val     uint32
	yes, no target
}

// steps compares a 64-bit argument in two halves, for the accumulator has 32 bits. Both architectures keep the low
// half first.
func steps(a specs.LinuxSeccompArg) ([]step, error) {
	off := offArgs + 8*uint32(a.Index)
	low, high := step{plain: bpf.LoadAbsolute{Off: off, Size: 4}}, step{plain: bpf.LoadAbsolute{Off: off + 4, Size: 4}}
	v, vHigh := uint32(a.Value), uint32(a.Value>>32)
	is := func(cond bpf.JumpTest, val uint32, yes, no target) step {
		return step{cond: cond, val: val, yes: yes, no: no}
	}
	switch a.Op {
	case specs.OpEqualTo:
		return []step{high, is(bpf.JumpEqual, vHigh, next, fail), low, is(bpf.JumpEqual, v, pass, fail)}, nil
	case specs.OpNotEqual:
		return []step{high, is(bpf.JumpEqual, vHigh, next, pass), low, is(bpf.JumpEqual, v, fail, pass)}, nil
	case specs.OpMaskedEqual:
		mask := func(val uint32) step { return step{plain: bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: val}} }
		return []step{high, mask(vHigh), is(bpf.JumpEqual, uint32(a.ValueTwo>>32), next, fail),
			low, mask(v), is(bpf.JumpEqual, uint32(a.ValueTwo), pass, fail)}, nil
	case specs.OpGreaterThan:
		return []step{high, is(bpf.JumpGreaterThan, vHigh, pass, next), is(bpf.JumpEqual, vHigh, next, fail),
			low, is(bpf.JumpGreaterThan, v, pass, fail)}, nil
	case specs.OpGreaterEqual:
		return []step{high, is(bpf.JumpGreaterThan, vHigh, pass, next), is(bpf.JumpEqual, vHigh, next, fail),
			low, is(bpf.JumpGreaterOrEqual, v, pass, fail)}, nil
	case specs.OpLessThan:
		return []step{high, is(bpf.JumpGreaterThan, vHigh, fail, next), is(bpf.JumpEqual, vHigh, next, pass),
			low, is(bpf.JumpGreaterOrEqual, v, fail, pass)}, nil
	case specs.OpLessEqual:
		return []step{high, is(bpf.JumpGreaterThan, vHigh, fail, next), is(bpf.JumpEqual, vHigh, next, pass),
			low, is(bpf.JumpGreaterThan, v, fail, pass)}, nil
	}
	return nil, fmt.Errorf("argument %d: operator %q is not supported", a.Index, a.Op)
}

// compile makes a block that returns the verdict or falls off its end. Six tests make at most 37 instructions, so that
// every jump inside is short.
func (r rule) compile() []bpf.Instruction {
	var all []step
	ends := make([]int, 0, 32) // of the test that each step belongs to
	for _, t := range r.tests {
		test, _ := steps(t) // makeRules saw that it has some
		all = append(all, test...)
		for range test {
			ends = append(ends, len(all))
		}
	}
	size := len(all) + 1
	block := make([]bpf.Instruction, 0, size)
	for i, s := range all {
		skip := func(t target) uint8 { return uint8([...]int{next: 0, pass: ends[i] - i - 1, fail: size - i - 1}[t]) }
		if s.plain != nil {
			block = append(block, s.plain)
			continue
		}
		block = append(block, bpf.JumpIf{Cond: s.cond, Val: s.val, SkipTrue: skip(s.yes), SkipFalse: skip(s.no)})
	}
	return append(block, bpf.RetConstant{Val: r.verdict})
}
