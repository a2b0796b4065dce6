package sandbox

import (
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"naru/engine/sandbox/program"
	"naru/naru"
)

// usualOpenFiles is the soft limit of open files that a process gets unless its spec says otherwise, as every login
// does: the daemon's own, raised to the hard one, makes old programs that close all descriptors crawl.
const usualOpenFiles = 1024

// defaultUmask is what a process starts with when its spec names none.
const defaultUmask = 0o022

// planProcess turns the init into the process: limits, identity, rights, and exec. A seccomp filter comes last, so
// that it need not allow the steps before; without no_new_privs that takes a right which those steps drop.
func planProcess(p *specs.Process, l *specs.Linux, filters *Filters, reaper bool) ([]program.Op, error) {
	filter, err := planSeccomp(filters, l.Seccomp)
	if err != nil {
		return nil, err
	}
	ops, err := planAttributes(p, l)
	if err != nil {
		return nil, err
	}
	ops = append(ops, planLimits(p.Rlimits)...)
	if !p.NoNewPrivileges {
		ops = append(ops, filter...)
	}
	identity, err := planIdentity(p)
	if err != nil {
		return nil, err
	}
	ops = append(ops, identity...)
	ops = append(ops, program.Op{Kind: program.Cwd, Path: p.Cwd})
	if p.NoNewPrivileges {
		ops = append(ops, program.Op{Kind: program.NoNewPrivs})
		ops = append(ops, filter...)
	}
	last := program.Op{Kind: program.Exec, List: p.Args, Env: p.Env}
	if reaper {
		last.Kind = program.Reap
	}
	return append(ops, last), nil
}

// planKeyring parts the process from the keys of who starts it, which whoever has their session keyring may read.
func planKeyring(keep bool) []program.Op {
	if keep {
		return nil
	}
	return []program.Op{{Kind: program.Keyring}}
}

func planSeccomp(filters *Filters, policy *specs.LinuxSeccomp) ([]program.Op, error) {
	if policy == nil {
		return nil, nil
	}
	f, err := filters.compile(policy)
	if err != nil {
		return nil, naru.Errorf(naru.InvalidArgument, "compile the seccomp policy: %w", err)
	}
	op := program.Op{Kind: program.Seccomp, Flags: f.Flags, Bytes: f.Code}
	if f.Flags&unix.SECCOMP_FILTER_FLAG_NEW_LISTENER != 0 {
		op.Kind, op.Source = program.Notify, policy.ListenerPath
	}
	return []program.Op{op}, nil
}

func planLimits(limits []specs.POSIXRlimit) []program.Op {
	var ops []program.Op
	files := func(l specs.POSIXRlimit) bool { return l.Type == "RLIMIT_NOFILE" }
	if !slices.ContainsFunc(limits, files) {
		ops = append(ops, program.Op{Kind: program.Rlimit, Data: "RLIMIT_NOFILE", Args: []uint64{unix.RLIMIT_NOFILE, usualOpenFiles}})
	}
	for _, l := range limits {
		ops = append(ops, program.Op{Kind: program.Rlimit, Data: l.Type, Args: []uint64{uint64(rlimits()[l.Type]), l.Soft, l.Hard}})
	}
	return ops
}

func planIdentity(p *specs.Process) ([]program.Op, error) {
	umask := uint64(defaultUmask)
	if p.User.Umask != nil {
		umask = uint64(*p.User.Umask)
	}
	args := []uint64{umask, uint64(p.User.UID), uint64(p.User.GID)}
	for _, g := range p.User.AdditionalGids {
		args = append(args, uint64(g))
	}
	user := program.Op{Kind: program.User, Args: args}
	if p.Capabilities == nil {
		return []program.Op{{Kind: program.Bounding, Args: []uint64{0}}, user, {Kind: program.Caps, Args: make([]uint64, 4)}}, nil
	}
	var sets [5]uint64
	c := p.Capabilities
	for i, names := range [][]string{c.Bounding, c.Effective, c.Permitted, c.Inheritable, c.Ambient} {
		var err error
		if sets[i], err = capBits(names); err != nil {
			return nil, err
		}
	}
	return []program.Op{{Kind: program.Bounding, Args: sets[:1]}, user, {Kind: program.Caps, Args: sets[1:]}}, nil
}

func wantsConsole(asked bool, p *specs.Process) bool { return asked || p.Terminal }

// consoleOp opens a terminal; one of a new container is bound at path too.
func consoleOp(p *specs.Process, path string) program.Op {
	op := program.Op{Kind: program.Console, Path: path}
	if p.ConsoleSize != nil {
		op.Args = []uint64{uint64(p.ConsoleSize.Height), uint64(p.ConsoleSize.Width)}
	}
	return op
}

// capNames are the capabilities in the order of their numbers.
const capNames = "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE " +
	"NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE " +
	"SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL " +
	"SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"

// capBits makes a bit set of names like "CAP_CHOWN".
func capBits(names []string) (bits uint64, err error) {
	known := strings.Fields(capNames)
	for _, name := range names {
		i := slices.Index(known, strings.TrimPrefix(name, "CAP_"))
		if i < 0 {
			return 0, naru.Errorf(naru.InvalidArgument, "unknown capability %q", name)
		}
		bits |= 1 << i
	}
	return bits, nil
}

func rlimits() map[string]int {
	return map[string]int{
		"RLIMIT_AS": unix.RLIMIT_AS, "RLIMIT_CORE": unix.RLIMIT_CORE, "RLIMIT_CPU": unix.RLIMIT_CPU,
		"RLIMIT_DATA": unix.RLIMIT_DATA, "RLIMIT_FSIZE": unix.RLIMIT_FSIZE, "RLIMIT_LOCKS": unix.RLIMIT_LOCKS,
		"RLIMIT_MEMLOCK": unix.RLIMIT_MEMLOCK, "RLIMIT_MSGQUEUE": unix.RLIMIT_MSGQUEUE, "RLIMIT_NICE": unix.RLIMIT_NICE,
		"RLIMIT_NOFILE": unix.RLIMIT_NOFILE, "RLIMIT_NPROC": unix.RLIMIT_NPROC, "RLIMIT_RSS": unix.RLIMIT_RSS,
		"RLIMIT_RTPRIO": unix.RLIMIT_RTPRIO, "RLIMIT_RTTIME": unix.RLIMIT_RTTIME,
		"RLIMIT_SIGPENDING": unix.RLIMIT_SIGPENDING, "RLIMIT_STACK": unix.RLIMIT_STACK,
	}
}

// Capabilities are the names of all capabilities that a spec can give.
func Capabilities() []string {
	names := strings.Fields(capNames)
	for i := range names {
		names[i] = "CAP_" + names[i]
	}
	return names
}
