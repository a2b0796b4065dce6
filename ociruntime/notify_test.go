package ociruntime_test

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// answer takes a seccomp notification and makes the call that it is about fail with EACCES.
func answer(fd int) error {
	defer unix.Close(fd)
	const receive, send = 0xc0502100, 0xc0182101 // SECCOMP_IOCTL_NOTIF_RECV and _SEND
	var asked [80]byte                           // struct seccomp_notif, which begins with its id
	if _, _, errno := syscall.Syscall(unix.SYS_IOCTL, uintptr(fd), receive, uintptr(unsafe.Pointer(&asked))); errno != 0 {
		return errno
	}
	said := struct {
		id, value    uint64
		errno, flags int32
	}{id: *(*uint64)(unsafe.Pointer(&asked)), errno: -int32(unix.EACCES)}
	if _, _, errno := syscall.Syscall(unix.SYS_IOCTL, uintptr(fd), send, uintptr(unsafe.Pointer(&said))); errno != 0 {
		return errno
	}
	return nil
}
