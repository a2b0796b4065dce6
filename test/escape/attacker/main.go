// Command attacker is what a hostile image would bring along: each subcommand tries one way out of a container and
// tells how far it came. It is started inside containers by the tests of package escape, and once more as root on the
// host, where every attack has to succeed to be worth its name; so each is written to do no harm when it does.
package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// verdict is how an attack ended, and its exit status.
type verdict int

const (
	held    verdict = iota + 10 // the container held
	escaped                     // it did not
	untried                     // this kernel lacks what the attack needs
)

func (v verdict) String() string {
	return map[verdict]string{held: "held", escaped: "escaped", untried: "untried"}[v]
}

// finding is a verdict with what was seen.
type finding struct {
	verdict
	seen string
}

func saw(v verdict, format string, args ...any) finding {
	return finding{v, fmt.Sprintf(format, args...)}
}

// attack is one way out. args are what the test tells it of the host, as an attacker may know by other ways.
type attack func(args []string) finding

func main() {
	runtime.LockOSThread() // namespaces and ids belong to a thread
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "which attack?")
		os.Exit(2)
	}
	run, known := attacks()[os.Args[1]]
	if !known {
		fmt.Fprintln(os.Stderr, "there is no attack", os.Args[1])
		os.Exit(2)
	}
	f := run(os.Args[2:])
	fmt.Printf("%s: %s\n", f.verdict, f.seen)
	os.Exit(int(f.verdict))
}

func attacks() map[string]attack {
	return map[string]attack{
		"bpf": bpf, "clock": clock, "clone-user": cloneUser, "clone3-user": clone3User, "core-pattern": opens("/proc/sys/kernel/core_pattern"),
		"capabilities": capabilities, "delete-module": deleteModule, "dmesg": dmesg, "fanotify": fanotify, "fsopen": fsopen,
		"handle": handle, "io-uring": ioUring, "kexec": kexec, "keyring": keyring, "session-key": sessionKey, "with-key": withKey, "module": module, "perf": perf,
		"realtime": realtime, "reboot": reboot, "setns": setns, "setuid": setuid, "swapon": swapon, "unshare-user": unshareUser,
		"userfaultfd": userfaultfd, "vsock": vsock, "x32": x32, "root-outside": rootOutside,

		"cgroup-write": cgroupWrite, "kallsyms": kallsyms, "kcore": reads("/proc/kcore"), "keys-file": reads("/proc/keys"),
		"masked": masked, "proc-sys": writable("/proc/sys"), "sys": writable("/sys/kernel", "/sys/module", "/sys/block", "/sys/class/net"),
		"sysrq": opens("/proc/sysrq-trigger"), "uevent-helper": opens("/sys/kernel/uevent_helper", "/proc/sys/kernel/hotplug", "/proc/sys/kernel/modprobe"),

		"mknod-block": mknodBlock, "mknod-memory": mknodMemory, "device-nodes": deviceNodes,

		"mount-tmpfs": mounts("tmpfs", "tmpfs", ""), "mount-proc": mounts("proc", "proc", ""), "mount-sysfs": mounts("sysfs", "sysfs", ""),
		"mount-cgroup": mounts("cgroup", "cgroup", "pids"), "mount-cgroup2": mounts("cgroup2", "cgroup2", ""),
		"mount-overlay": mounts("overlay", "overlay", "lowerdir=/:/"), "mount-bind": bindMount, "mount-devtmpfs": mounts("devtmpfs", "devtmpfs", ""),
		"remount": remount, "unmask": unmask, "release-agent": releaseAgent, "netfilter": netfilter,

		"descriptors": descriptors, "host-file": hostFile, "terminal": terminal, "suid-host": suidHost, "as-user": asOther,

		"abstract": dials("unix"), "unix": dials("unix"), "unixpacket": dials("unixpacket"), "tcp": dials("tcp"), "frames": frames, "gateway": gateway,
		"sysv": sysv, "signal": signal, "ptrace-init": ptraceInit, "watch-exe": watchExe, "watch-ptrace": watchPtrace,

		"forks": forks, "memory": memory, "fill": fill, "inodes": inodes, "project": project, "swap": swap, "serve": serve, "hold": hold, "inspect": inspect,
	}
}

// called judges a system call that only a privileged process gets to run: by the kernel's own refusals it held.
func called(what string, err error) finding {
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES), errors.Is(err, unix.EROFS):
		return saw(held, "%s: %v", what, err)
	case errors.Is(err, unix.ENOSYS):
		return saw(untried, "%s: not in this kernel, or hidden by seccomp", what)
	case err != nil:
		return saw(escaped, "%s got past the permission check: %v", what, err)
	}
	return saw(escaped, "%s succeeded", what)
}

// errnoOf turns a raw system call's errno into an error, so that 0 is none.
func errnoOf(e unix.Errno) error {
	if e == 0 {
		return nil
	}
	return e
}
