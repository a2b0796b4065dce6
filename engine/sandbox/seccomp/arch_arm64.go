package seccomp

import (
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

const (
	nativeArch  = unix.AUDIT_ARCH_AARCH64
	specArch    = specs.ArchAARCH64
	foreignFrom = 0x40000000 // nothing: higher than any number
)
