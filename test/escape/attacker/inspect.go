package main

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// inspect names each defence that it misses, by itself. args are links of /proc/self/ns as the host has them.
func inspect(args []string) finding {
	var missing []string
	for _, look := range []func([]string) []string{extraCapabilities, processFlags, hostNamespaces, openPaths, writableMounts, allDevices} {
		missing = append(missing, look(args)...)
	}
	if len(missing) > 0 {
		return saw(escaped, "without %s", strings.Join(missing, ", "))
	}
	return saw(held, "every defence is in its place")
}

// status is a field of /proc/self/status.
func status(field string) string {
	text, _ := os.ReadFile("/proc/self/status") // no field is no defence
	_, rest, _ := strings.Cut(string(text), "\n"+field+":\t")
	value, _, _ := strings.Cut(rest, "\n")
	return value
}

// dockers are the capabilities that a container has.
const dockers = 0xa80425fb

func extraCapabilities([]string) (missing []string) {
	var all uint64
	for _, set := range []string{"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"} {
		bits, err := strconv.ParseUint(status(set), 16, 64)
		if err != nil {
			return []string{set}
		}
		all |= bits
	}
	for c := range 64 {
		if (all&^dockers)&(1<<c) != 0 {
			missing = append(missing, "drop of capability "+strconv.Itoa(c))
		}
	}
	return missing
}

func processFlags([]string) (missing []string) {
	if status("NoNewPrivs") != "1" {
		missing = append(missing, "no_new_privs")
	}
	if status("Seccomp") != "2" {
		missing = append(missing, "seccomp")
	}
	return missing
}

func hostNamespaces(links []string) (missing []string) {
	for _, link := range links {
		name, _, _ := strings.Cut(link, ":")
		if ours, err := os.Readlink("/proc/self/ns/" + name); err != nil || ours == link {
			missing = append(missing, name+" namespace")
		}
	}
	return missing
}

// openPaths finds what Docker masks and is not masked here: a mask is an empty tmpfs, or /dev/null.
func openPaths([]string) (missing []string) {
	for _, path := range maskedPaths() {
		var st unix.Stat_t
		var fs unix.Statfs_t
		if unix.Stat(path, &st) != nil || unix.Statfs(path, &fs) != nil {
			continue // not on this machine
		}
		isNull := st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == unix.Mkdev(1, 3)
		isEmpty := st.Mode&unix.S_IFMT == unix.S_IFDIR && fs.Type == unix.TMPFS_MAGIC && fs.Flags&unix.ST_RDONLY != 0
		if !isNull && !isEmpty {
			missing = append(missing, "mask of "+path)
		}
	}
	return missing
}

func maskedPaths() []string {
	return []string{"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
		"/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware", "/sys/devices/virtual/powercap"}
}

func writableMounts([]string) (missing []string) {
	writable := func(path string) bool {
		var fs unix.Statfs_t
		return unix.Statfs(path, &fs) == nil && fs.Flags&unix.ST_RDONLY == 0
	}
	for _, path := range []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger", "/sys"} {
		if writable(path) {
			missing = append(missing, "read-only "+path)
		}
	}
	const groups = "/sys/fs/cgroup"
	hierarchies, _ := filepath.Glob(groups + "/*") // of cgroup v1 each is a mount
	if slices.ContainsFunc(append(hierarchies, groups), writable) {
		missing = append(missing, "read-only "+groups)
	}
	return missing
}

// allDevices reads a disk, where it may make its node: in no user namespace.
func allDevices([]string) []string {
	if mknodBlock(nil).verdict == escaped {
		return []string{"device rules"}
	}
	return nil
}
