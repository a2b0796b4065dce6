package sandbox

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"naru/engine/sandbox/program"
	"naru/naru"
)

// planAttributes gives a process its place among others on the machine, while it may still raise itself.
func planAttributes(p *specs.Process, l *specs.Linux) (ops []program.Op, err error) {
	if l.Personality != nil {
		ops = append(ops, program.Op{Kind: program.Personality, Flags: personalities()[l.Personality.Domain]})
	}
	if m := l.MemoryPolicy; m != nil {
		op, err := planMemoryPolicy(m)
		if err != nil {
			return nil, err
		}
		ops = append(ops, op)
	}
	if s := p.Scheduler; s != nil {
		op, err := planScheduler(s)
		if err != nil {
			return nil, err
		}
		ops = append(ops, op)
	}
	if io := p.IOPriority; io != nil {
		const classShift = 13
		ops = append(ops, program.Op{Kind: program.IOPriority, Flags: ioClasses()[io.Class]<<classShift | uint64(io.Priority)})
	}
	return ops, nil
}

func personalities() map[specs.LinuxPersonalityDomain]uint64 {
	const linux, linux32 = 0, 8 // PER_LINUX, PER_LINUX32
	return map[specs.LinuxPersonalityDomain]uint64{specs.PerLinux: linux, specs.PerLinux32: linux32}
}

func ioClasses() map[specs.IOPriorityClass]uint64 {
	return map[specs.IOPriorityClass]uint64{specs.IOPRIO_CLASS_RT: 1, specs.IOPRIO_CLASS_BE: 2, specs.IOPRIO_CLASS_IDLE: 3}
}

func planScheduler(s *specs.Scheduler) (program.Op, error) {
	policy, known := map[specs.LinuxSchedulerPolicy]uint64{
		specs.SchedOther: unix.SCHED_NORMAL, specs.SchedFIFO: unix.SCHED_FIFO, specs.SchedRR: unix.SCHED_RR, specs.SchedBatch: unix.SCHED_BATCH,
		specs.SchedIdle: unix.SCHED_IDLE, specs.SchedDeadline: unix.SCHED_DEADLINE,
	}[s.Policy]
	if !known {
		return program.Op{}, invalid("process.scheduler.policy", fmt.Sprintf("%q is none that Linux has", s.Policy))
	}
	flags, err := flagBits("process.scheduler.flags", s.Flags, map[specs.LinuxSchedulerFlag]uint64{
		specs.SchedFlagResetOnFork: unix.SCHED_FLAG_RESET_ON_FORK, specs.SchedFlagReclaim: unix.SCHED_FLAG_RECLAIM,
		specs.SchedFlagDLOverrun: unix.SCHED_FLAG_DL_OVERRUN, specs.SchedFlagKeepPolicy: unix.SCHED_FLAG_KEEP_POLICY,
		specs.SchedFlagKeepParams: unix.SCHED_FLAG_KEEP_PARAMS, specs.SchedFlagUtilClampMin: unix.SCHED_FLAG_UTIL_CLAMP_MIN,
		specs.SchedFlagUtilClampMax: unix.SCHED_FLAG_UTIL_CLAMP_MAX,
	})
	args := []uint64{policy, flags, uint64(s.Nice), uint64(s.Priority), s.Runtime, s.Deadline, s.Period}
	return program.Op{Kind: program.Scheduler, Args: args}, err
}

func planMemoryPolicy(m *specs.LinuxMemoryPolicy) (program.Op, error) {
	mode, known := map[specs.MemoryPolicyModeType]uint64{
		specs.MpolDefault: 0, specs.MpolPreferred: 1, specs.MpolBind: 2, specs.MpolInterleave: 3, specs.MpolLocal: 4,
		specs.MpolPreferredMany: 5, specs.MpolWeightedInterleave: 6,
	}[m.Mode]
	if !known {
		return program.Op{}, invalid("linux.memoryPolicy.mode", fmt.Sprintf("%q is none that Linux has", m.Mode))
	}
	flags, err := flagBits("linux.memoryPolicy.flags", m.Flags, map[specs.MemoryPolicyFlagType]uint64{
		specs.MpolFNumaBalancing: 1 << 13, specs.MpolFRelativeNodes: 1 << 14, specs.MpolFStaticNodes: 1 << 15,
	})
	if err != nil {
		return program.Op{}, err
	}
	nodes, err := parseMask("linux.memoryPolicy.nodes", m.Nodes)
	return program.Op{Kind: program.MemoryPolicy, Flags: mode | flags, Args: nodes}, err
}

func flagBits[F ~string](field string, flags []F, known map[F]uint64) (bits uint64, err error) {
	for _, f := range flags {
		bit, some := known[f]
		if !some {
			return 0, invalid(field, fmt.Sprintf("has an unknown flag %q", f))
		}
		bits |= bit
	}
	return bits, nil
}

// maxMask bounds the number of a processor or memory node: Linux is built for at most 8192.
const maxMask = 8192

// parseMask reads a list like "0-3,7" into bits.
func parseMask(field, list string) ([]uint64, error) {
	var mask []uint64
	for part := range strings.SplitSeq(strings.TrimSpace(list), ",") {
		if part == "" {
			continue
		}
		low, high, isRange := strings.Cut(part, "-")
		if !isRange {
			high = low
		}
		first, err := strconv.ParseUint(low, 10, 16)
		last, err2 := strconv.ParseUint(high, 10, 16)
		if err != nil || err2 != nil || first > last || last >= maxMask {
			return nil, invalid(field, fmt.Sprintf("%q is no list like 0-3,7", list))
		}
		for n := first; n <= last; n++ {
			for uint64(len(mask)) <= n/64 {
				mask = append(mask, 0)
			}
			mask[n/64] |= 1 << (n % 64)
		}
	}
	return mask, nil
}

func validateAttributes(p *specs.Process) error {
	if io := p.IOPriority; io != nil {
		if _, known := ioClasses()[io.Class]; !known || io.Priority < 0 || io.Priority > 7 {
			return invalid("process.ioPriority", fmt.Sprintf("%s %d: want a class of IOPRIO_CLASS_RT, _BE or _IDLE, and 0 to 7", io.Class, io.Priority))
		}
	}
	if a := p.ExecCPUAffinity; a != nil {
		for _, list := range []string{a.Initial, a.Final} {
			if _, err := parseMask("process.execCPUAffinity", list); err != nil {
				return err
			}
		}
	}
	return nil
}

// planClocks makes a time namespace of the container's own. The program enters it as it is executed.
func (p *plan) planClocks(s *specs.Spec) {
	if !newNamespace(s, specs.TimeNamespace) {
		return
	}
	var offsets strings.Builder
	for _, clock := range clocks() {
		if o, some := s.Linux.TimeOffsets[clock]; some {
			fmt.Fprintf(&offsets, "%s %d %d\n", clock, o.Secs, o.Nanosecs)
		}
	}
	p.add(program.Op{Kind: program.Clocks, Data: offsets.String()})
}

func clocks() []string { return []string{"monotonic", "boottime"} }

func validateClocks(s *specs.Spec) error {
	for clock, o := range s.Linux.TimeOffsets {
		switch {
		case !slices.Contains(clocks(), clock):
			return invalid("linux.timeOffsets", fmt.Sprintf("has an unknown clock %q", clock))
		case o.Nanosecs >= 1e9:
			return invalid("linux.timeOffsets", fmt.Sprintf("%s: %d nanoseconds are more than a second", clock, o.Nanosecs))
		case !newNamespace(s, specs.TimeNamespace):
			return invalid("linux.timeOffsets", "need a new time namespace")
		}
	}
	return nil
}

// checkClocks wants a kernel that moves a process into its time namespace as it executes a program, since Linux 6.2.
func checkClocks(s *specs.Spec) error {
	if !newNamespace(s, specs.TimeNamespace) {
		return nil
	}
	var major, minor int
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err == nil {
		_, err = fmt.Sscanf(string(release), "%d.%d", &major, &minor)
	}
	if err != nil || major < 6 || major == 6 && minor < 2 {
		return naru.Errorf(naru.FailedPrecondition, "spec field linux.namespaces: a time namespace needs Linux 6.2, this is %s", bytes.TrimSpace(release))
	}
	return nil
}
