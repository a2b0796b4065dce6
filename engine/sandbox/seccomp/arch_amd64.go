package seccomp

import (
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

const (
	nativeArch  = unix.AUDIT_ARCH_X86_64
	specArch    = specs.ArchX86_64
	foreignFrom = 0x40000000 // x32: the same architecture to the kernel, other numbers
)
