package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unsafe"

	"github.com/opencontainers/cgroups"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// limitDevices says which devices the group may use: on v1 in the hierarchy made for it, on v2 with a small eBPF
// program. opencontainers/cgroups would do it too, at the price of a BPF library.
func (g *cgroup) limitDevices() error {
	if len(g.devices) == 0 {
		return nil
	}
	if cgroups.IsCgroup2UnifiedMode() {
		return attachDeviceProgram(g.manager.Path(""), deviceProgram(g.devices))
	}
	dir := g.manager.Path("devices")
	if dir == "" {
		return errors.New("the devices hierarchy is not mounted")
	}
	return writeDeviceRules(dir, g.devices)
}

// writeDeviceRules writes the rules in their order, each with a write of its own as the kernel wants them. The files
// are opened once, past Go's poller, which would wake up for each: a container has a dozen rules.
func writeDeviceRules(dir string, rules []specs.LinuxDeviceCgroup) error {
	allow, err := openKernelFile(filepath.Join(dir, "devices.allow"))
	if err != nil {
		return err
	}
	defer unix.Close(allow)
	deny, err := openKernelFile(filepath.Join(dir, "devices.deny"))
	if err != nil {
		return err
	}
	defer unix.Close(deny)
	for _, r := range rules {
		file := deny
		if r.Allow {
			file = allow
		}
		if _, err := unix.Write(file, []byte(deviceRule(r))); err != nil {
			return fmt.Errorf("rule %q: %w", deviceRule(r), err)
		}
	}
	return nil
}

// openKernelFile opens a file of a kernel's filesystem for writing.
func openKernelFile(path string) (int, error) {
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return fd, nil
}

// deviceRule renders a rule as cgroup v1 reads it.
func deviceRule(r specs.LinuxDeviceCgroup) string {
	kind := r.Type
	if kind == "" || kind == "a" {
		return "a *:* rwm"
	}
	number := func(n *int64) string {
		if n == nil || *n < 0 {
			return "*"
		}
		return strconv.FormatInt(*n, 10)
	}
	return kind + " " + number(r.Major) + ":" + number(r.Minor) + " " + access(r)
}

func access(r specs.LinuxDeviceCgroup) string {
	if r.Access == "" {
		return "rwm"
	}
	return r.Access
}

// bpfInsn is the kernel's struct bpf_insn.
type bpfInsn struct {
	code uint8
	regs uint8 // destination low, source high
	off  int16
	imm  int32
}

// Registers of the program, and the opcodes it is made of.
const (
	regResult, regCtx, regType, regAccess, regMajor, regMinor, regScratch = 0, 1, 2, 3, 4, 5, 6

	opLoad32    = unix.BPF_LDX | unix.BPF_MEM | unix.BPF_W
	opMoveImm   = unix.BPF_ALU64 | unix.BPF_MOV | unix.BPF_K
	opMoveReg   = unix.BPF_ALU64 | unix.BPF_MOV | unix.BPF_X
	opAndImm    = unix.BPF_ALU64 | unix.BPF_AND | unix.BPF_K
	opShiftImm  = unix.BPF_ALU64 | unix.BPF_RSH | unix.BPF_K
	opUnlessImm = unix.BPF_JMP | unix.BPF_JNE | unix.BPF_K
	opUnlessReg = unix.BPF_JMP | unix.BPF_JNE | unix.BPF_X
	opIfImm     = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
	opExit      = unix.BPF_JMP | unix.BPF_EXIT
)

// deviceProgram decides as v1 would: of the rules that match the last one counts, and without one all is allowed.
// The context is struct bpf_cgroup_dev_ctx: access << 16 | type, major, minor.
func deviceProgram(rules []specs.LinuxDeviceCgroup) []bpfInsn {
	prog := []bpfInsn{
		{opLoad32, regType | regCtx<<4, 0, 0},
		{opMoveReg, regAccess | regType<<4, 0, 0},
		{opAndImm, regType, 0, 0xffff},
		{opShiftImm, regAccess, 0, 16},
		{opLoad32, regMajor | regCtx<<4, 4, 0},
		{opLoad32, regMinor | regCtx<<4, 8, 0},
	}
	for i := len(rules) - 1; i >= 0; i-- {
		prog = append(prog, deviceBlock(rules[i])...)
		if rules[i].Type != "b" && rules[i].Type != "c" {
			return prog // it decides everything: the kernel refuses instructions that cannot be reached
		}
	}
	return append(prog, bpfInsn{opMoveImm, regResult, 0, 1}, bpfInsn{opExit, 0, 0, 0})
}

// deviceBlock decides one rule, or falls through: its tests jump to its end.
func deviceBlock(r specs.LinuxDeviceCgroup) []bpfInsn {
	var block []bpfInsn
	if kind, some := map[string]int32{"b": unix.BPF_DEVCG_DEV_BLOCK, "c": unix.BPF_DEVCG_DEV_CHAR}[r.Type]; some {
		block = append(block, bpfInsn{opUnlessImm, regType, 0, kind})
		block = append(block, accessTest(r)...)
		if r.Major != nil && *r.Major >= 0 {
			block = append(block, bpfInsn{opUnlessImm, regMajor, 0, int32(*r.Major)})
		}
		if r.Minor != nil && *r.Minor >= 0 {
			block = append(block, bpfInsn{opUnlessImm, regMinor, 0, int32(*r.Minor)})
		}
	}
	verdict := int32(0)
	if r.Allow {
		verdict = 1
	}
	block = append(block, bpfInsn{opMoveImm, regResult, 0, verdict}, bpfInsn{opExit, 0, 0, 0})
	for i := range block {
		switch block[i].code {
		case opUnlessImm, opUnlessReg, opIfImm:
			block[i].off = int16(len(block) - i - 1)
		}
	}
	return block
}

// accessTest lets an allowing rule match when it allows all that is asked, a denying one when it denies any of it.
func accessTest(r specs.LinuxDeviceCgroup) []bpfInsn {
	var bits int32
	for letter, bit := range map[string]int32{"m": unix.BPF_DEVCG_ACC_MKNOD, "r": unix.BPF_DEVCG_ACC_READ, "w": unix.BPF_DEVCG_ACC_WRITE} {
		if strings.Contains(access(r), letter) {
			bits |= bit
		}
	}
	test := []bpfInsn{{opMoveReg, regScratch | regAccess<<4, 0, 0}, {opAndImm, regScratch, 0, bits}}
	if r.Allow {
		return append(test, bpfInsn{opUnlessReg, regScratch | regAccess<<4, 0, 0})
	}
	return append(test, bpfInsn{opIfImm, regScratch, 0, 0})
}

// attachDeviceProgram loads a program and attaches it to a cgroup, which owns it from then on.
func attachDeviceProgram(dir string, prog []bpfInsn) error {
	group, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer group.Close()
	license := [...]byte{'G', 'P', 'L', 0}
	load := struct {
		kind, count    uint32
		insns, license unsafe.Pointer
		_              [88]byte
	}{kind: unix.BPF_PROG_TYPE_CGROUP_DEVICE, count: uint32(len(prog)), insns: unsafe.Pointer(&prog[0]), license: unsafe.Pointer(&license)}
	fd, _, errno := unix.Syscall(unix.SYS_BPF, unix.BPF_PROG_LOAD, uintptr(unsafe.Pointer(&load)), unsafe.Sizeof(load))
	for errno == unix.EAGAIN { // a signal met the verifier, such as those that Go's scheduler sends itself
		fd, _, errno = unix.Syscall(unix.SYS_BPF, unix.BPF_PROG_LOAD, uintptr(unsafe.Pointer(&load)), unsafe.Sizeof(load))
	}
	if errno != 0 {
		return fmt.Errorf("load the device program: %w", errno)
	}
	defer unix.Close(int(fd))
	attach := struct{ target, prog, kind, flags uint32 }{uint32(group.Fd()), uint32(fd), unix.BPF_CGROUP_DEVICE, unix.BPF_F_ALLOW_MULTI}
	if _, _, errno := unix.Syscall(unix.SYS_BPF, unix.BPF_PROG_ATTACH, uintptr(unsafe.Pointer(&attach)), unsafe.Sizeof(attach)); errno != 0 {
		return fmt.Errorf("attach the device program: %w", errno)
	}
	return nil
}
