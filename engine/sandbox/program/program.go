// Package program is the language between the daemon and what becomes a container: a flat list of operations that the
// daemon plans and the other side executes in order, without deciding anything. It owns their encoding, which is read where
// it lies: between fork and exec there is no memory to be had.
package program

import (
	"fmt"
	"strconv"
	"strings"
)

// Kind says what an operation does; the comment says which fields it reads. A Path is absolute in the container's
// root, and resolved so that no link in the image leads out of it, unless the comment says otherwise.
type Kind byte

// The kinds of operation.
const (
	// Layers mounts a tmpfs to work on over the host's /dev, which nobody needs any more in this mount namespace. With
	// Flags InPlace the namespace is others' too, and stays as it is.
	Layers Kind = iota + 1
	// Attach puts the detached mount FD at Path, a new folder beside the other layers.
	Attach
	// Overlay mounts an overlay with options Data at Path; its layers are the attached folders.
	Overlay
	// Root makes the mount at Path (beside the layers) the root that all Paths below are resolved in. With Flags InPlace
	// Path is any folder, and made a mount first.
	Root
	// Mount mounts Source of Type at Path with Flags (MS_*) and Data, and makes Path a folder when it is missing.
	Mount
	// Bind attaches the detached mount FD at Path; a missing Path is made, a folder or a file as FD is.
	Bind
	// Mkdir makes the folder Path and its parents.
	Mkdir
	// Symlink makes Path a link to Source unless it exists.
	Symlink
	// Mknod makes the device Path of mode Flags, Args: device number, uid, gid.
	Mknod
	// Mask hides Path: a folder under an empty read-only tmpfs, a file under /dev/null. A missing Path is fine.
	Mask
	// ReadOnly makes Path and what is under it read-only; with Flags InPlace the very mount at Path, which it is the
	// root of, without what is mounted below. A missing Path is fine.
	ReadOnly
	// Sysctl writes Data to the file Path under /proc/sys.
	Sysctl
	// Hostname and Domainname set Data.
	Hostname
	Domainname
	// Console opens a terminal in the container, sends its master back, and makes it 0, 1 and 2; Args: rows, columns.
	// With Path it is also bound there (/dev/console).
	Console
	// Pivot makes the root the process's root and lets go of the host's, which with Flags InPlace stays where it is.
	Pivot
	// Await waits for the daemon's word: the network is there.
	Await
	// Rlimit sets limit Args[0], named Data, to soft Args[1], hard Args[2]; without Args[2] the hard one stays.
	Rlimit
	// NoNewPrivs sets no_new_privs.
	NoNewPrivs
	// Seccomp loads the filter Bytes with Flags.
	Seccomp
	// Bounding drops every capability that is not a bit of Args[0] from the bounding set.
	Bounding
	// User sets Args: umask, uid, gid, then the supplementary groups. Capabilities survive it.
	User
	// Caps sets Args: the effective, permitted, inheritable and ambient sets, as bits.
	Caps
	// Cwd enters Path, as the user sees it.
	Cwd
	// Exec runs List, a command line that is looked up in Data (PATH), with environment Env.
	Exec
	// Reap stays as process 1 that forwards signals and reaps, and runs the same as Exec as its child.
	Reap
	// Sync says that all is there but the new root, and waits for the daemon's word.
	Sync
	// Gate says Ready, and waits at the listening socket FD for who starts the container: their connection takes the
	// place of the daemon's.
	Gate
	// Hook runs the program Path with the command line List, environment Env and Bytes on its standard input, for at
	// most Flags seconds (0: no limit). It fails unless that exits with 0.
	Hook
	// Keep leaves the Flags descriptors above the socket to the program, from 3 on. It is the last before Exec.
	Keep
	// Find makes sure that Exec would find its program: List and Env are its, Path is the working directory.
	Find
	// Clocks makes a time namespace for the program, whose clocks differ from the host's by Data, as the kernel reads it.
	Clocks
	// Label has exec give the program the security label Data, by the file Path of /proc.
	Label
	// Propagate gives the mount at Path the propagation Flags (MS_*).
	Propagate
	// CopyUp is Mount, and brings what Path had before along.
	CopyUp
	// Notify is Seccomp, and sends Data with the descriptor of the filter's notifications to the socket FD.
	Notify
	// Personality sets the execution domain Flags.
	Personality
	// Scheduler sets Args: policy, flags, nice, priority, runtime, deadline and period.
	Scheduler
	// IOPriority sets Flags: class and priority, as the kernel packs them.
	IOPriority
	// Affinity leaves the processors that are bits of Args to the program.
	Affinity
	// MemoryPolicy sets the mode Flags for the memory nodes that are bits of Args.
	MemoryPolicy
	// Keyring gives the program a session keyring of its own, with nothing in it.
	Keyring
	// Enter moves the process into the group of cgroup v1 whose tasks file is FD.
	Enter
	// CgroupNamespace makes a cgroup namespace, whose root are the groups that the process is in.
	CgroupNamespace
	kindEnd
)

// InPlace is the flag of Layers, Root, ReadOnly and Pivot.
const InPlace = 1

// Op is one operation.
type Op struct {
	Kind   Kind
	Path   string
	Source string
	Type   string
	Data   string
	FD     int // index of a descriptor sent along, for Attach, Bind, Enter, Gate and Notify
	Flags  uint64
	Args   []uint64
	List   []string
	Env    []string
	Bytes  []byte
}

var names = [kindEnd]string{
	Layers: "layers", Attach: "attach", Overlay: "overlay", Root: "root", Mount: "mount", Bind: "bind", Mkdir: "mkdir",
	Symlink: "symlink", Mknod: "mknod", Mask: "mask", ReadOnly: "readonly", Sysctl: "sysctl", Hostname: "hostname",
	Domainname: "domainname", Console: "console", Pivot: "pivot", Await: "await",
	Rlimit: "rlimit", NoNewPrivs: "no-new-privs", Seccomp: "seccomp", Bounding: "bounding", User: "user", Caps: "caps", Cwd: "cwd",
	Exec: "exec", Reap: "reap", Sync: "sync", Gate: "gate", Hook: "hook", Keep: "keep", Find: "find",
	Clocks: "clocks", Label: "label", Propagate: "propagate", CopyUp: "copy-up", Notify: "notify", Personality: "personality",
	Scheduler: "scheduler", IOPriority: "io-priority", Affinity: "affinity", MemoryPolicy: "memory-policy", Keyring: "keyring",
	Enter: "enter", CgroupNamespace: "cgroup-namespace",
}

// String names the kind as goldens and errors show it.
func (k Kind) String() string {
	if k < kindEnd && names[k] != "" {
		return names[k]
	}
	return "kind " + strconv.Itoa(int(k))
}

// String shows an operation on one line, for goldens.
func (o Op) String() string {
	var b strings.Builder
	b.WriteString(o.Kind.String())
	word := func(key, value string) {
		if value != "" {
			fmt.Fprintf(&b, " %s=%s", key, value)
		}
	}
	if o.Path != "" {
		b.WriteString(" " + o.Path)
	}
	word("type", o.Type)
	word("source", o.Source)
	word("data", o.Data)
	if o.Kind == Attach || o.Kind == Bind || o.Kind == Gate || o.Kind == Notify || o.Kind == Enter {
		fmt.Fprintf(&b, " fd=%d", o.FD)
	}
	if o.Flags != 0 {
		fmt.Fprintf(&b, " flags=%#o", o.Flags)
	}
	o.writeLists(&b)
	return b.String()
}

func (o Op) writeLists(b *strings.Builder) {
	for i, a := range o.Args {
		format := " %d"
		switch o.Kind {
		case Caps, Bounding, Affinity, MemoryPolicy:
			format = " %#x"
		}
		if i == 0 {
			b.WriteString(" args:")
		}
		fmt.Fprintf(b, format, a)
	}
	if len(o.List) > 0 {
		fmt.Fprintf(b, " %q", o.List)
	}
	if len(o.Env) > 0 {
		fmt.Fprintf(b, " env:%q", o.Env)
	}
	if len(o.Bytes) > 0 {
		fmt.Fprintf(b, " bytes:%d", len(o.Bytes))
	}
}
