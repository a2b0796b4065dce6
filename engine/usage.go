package engine

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"naru/engine/sandbox"
)

// Usage is what a running container uses at a time, and has used so far.
type Usage struct {
	At               time.Time
	CPU              time.Duration // of all cores, so far
	MemoryBytes      uint64
	MemoryLimitBytes uint64 // zero: none
	PIDs             uint64
	Received, Sent   uint64 // bytes on eth0, so far
}

// unlimited is above any limit that is meant: cgroup v1 says none by a number near the largest.
const unlimited = 1 << 60

// Usage reads what a running container uses.
func (e *Engine) Usage(_ context.Context, idOrName string) (Usage, error) {
	_, c, err := e.runningEntry(idOrName)
	if err != nil {
		return Usage{}, err
	}
	s, err := sandbox.Stats(e.cgroup(c.ID))
	if err != nil {
		return Usage{}, err
	}
	u := Usage{At: time.Now(), CPU: s.CPU, MemoryBytes: s.MemoryBytes, MemoryLimitBytes: s.MemoryLimitBytes, PIDs: s.PIDs}
	if u.MemoryLimitBytes >= unlimited {
		u.MemoryLimitBytes = 0
	}
	if c.Addr.IsValid() {
		u.Received, u.Sent, err = interfaceBytes(c.PID, "eth0")
	}
	return u, err
}

// interfaceBytes reads the counters of an interface in a process's network namespace.
func interfaceBytes(pid int, name string) (received, sent uint64, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/dev", pid))
	if err != nil {
		return 0, 0, fmt.Errorf("read the counters of %s: %w", name, err)
	}
	for line := range strings.Lines(string(b)) {
		iface, counters, ok := strings.Cut(line, ":")
		fields := strings.Fields(counters)
		if !ok || strings.TrimSpace(iface) != name || len(fields) < 9 {
			continue
		}
		if received, err = strconv.ParseUint(fields[0], 10, 64); err != nil {
			return 0, 0, fmt.Errorf("read the counters of %s: %w", name, err)
		}
		if sent, err = strconv.ParseUint(fields[8], 10, 64); err != nil {
			return 0, 0, fmt.Errorf("read the counters of %s: %w", name, err)
		}
	}
	return received, sent, nil
}

// Process is one process of a container.
type Process struct {
	PID     int // seen from the host
	Inside  int // seen from the container
	User    int // the container's id of its user
	Memory  int64
	CPU     time.Duration
	Command string
}

// Top lists the processes of a running container.
func (e *Engine) Top(_ context.Context, idOrName string) ([]Process, error) {
	_, c, err := e.runningEntry(idOrName)
	if err != nil {
		return nil, err
	}
	pids, err := e.processes(c)
	if err != nil {
		return nil, err
	}
	var out []Process
	for _, pid := range pids {
		if p, ok := readProcess(pid, c.IDBase); ok {
			out = append(out, p)
		}
	}
	return out, nil
}

func (e *Engine) processes(c Container) ([]int, error) {
	if group := e.cgroup(c.ID); group != "" {
		return sandbox.Processes(group)
	}
	return sandbox.Companions(c.PID)
}

// readProcess is false for a process that has just ended.
func readProcess(pid int, base uint32) (Process, bool) {
	p := Process{PID: pid}
	status, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return p, false
	}
	defer status.Close()
	for lines := bufio.NewScanner(status); lines.Scan(); {
		p.readStatus(lines.Text())
	}
	p.User -= int(base)
	cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return p, false
	}
	if text := strings.TrimRight(string(cmdline), "\x00"); text != "" {
		p.Command = strings.ReplaceAll(text, "\x00", " ")
	}
	p.CPU = cpuTime(pid)
	return p, true
}

// readStatus takes what it wants of a line of /proc/PID/status.
func (p *Process) readStatus(line string) {
	name, value, _ := strings.Cut(line, ":")
	fields := strings.Fields(value)
	if len(fields) == 0 {
		return
	}
	switch name {
	case "Name":
		p.Command = "[" + fields[0] + "]"
	case "Uid":
		p.User, _ = strconv.Atoi(fields[0]) // the kernel writes numbers
	case "NSpid":
		p.Inside, _ = strconv.Atoi(fields[len(fields)-1])
	case "VmRSS":
		kib, _ := strconv.ParseInt(fields[0], 10, 64)
		p.Memory = kib << 10
	}
}

// clockTick is the unit of times in /proc on every architecture that Go runs on.
const clockTick = 10 * time.Millisecond

// cpuTime reads how long a process has computed; zero when it has ended.
func cpuTime(pid int) time.Duration {
	return ticks(pid, 14) + ticks(pid, 15)
}

// Age is how long the container's process has been there, by a clock that nobody sets; zero when it has ended.
func (c Container) Age() time.Duration {
	var now unix.Timespec
	if c.PID == 0 || unix.ClockGettime(unix.CLOCK_BOOTTIME, &now) != nil {
		return 0
	}
	born := ticks(c.PID, 22)
	if born == 0 {
		return 0
	}
	return max(0, time.Duration(now.Nano())-born)
}

// ticks reads a time of a process by its number in proc_pid_stat(5); zero when the process has ended.
func ticks(pid, field int) time.Duration {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(b), ") ") // a command's name may hold blanks
	fields := strings.Fields(rest)             // from the third on
	if len(fields) <= field-3 {
		return 0
	}
	n, _ := strconv.ParseInt(fields[field-3], 10, 64)
	return time.Duration(n) * clockTick
}
