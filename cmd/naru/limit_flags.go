package main

import (
	"errors"
	"math"
	"strconv"
	"strings"

	"github.com/docker/go-units"
	"github.com/spf13/pflag"

	"naru/api"
	"naru/naru"
)

// limitFlags are those of container run and update that bound what it uses.
type limitFlags struct {
	memory, reservation, swap string
	cpus                      string
	period, quota             int64
	limits                    naru.Limits
}

func (f *limitFlags) register(fs *pflag.FlagSet) {
	fs.StringVarP(&f.memory, "memory", "m", "", "memory `limit`, such as 256m")
	fs.StringVar(&f.reservation, "memory-reservation", "", "`size` it is pressed down to when the machine is short of memory")
	fs.StringVar(&f.swap, "memory-swap", "", "`limit` of memory and swap together; -1: no limit of swap")
	fs.StringVar(&f.cpus, "cpus", "", "`number` of cores it may use, such as 0.5")
	fs.Int64VarP(&f.limits.CPUShares, "cpu-shares", "c", 0, "its `weight` when cores are short; others have 1024")
	fs.Int64Var(&f.quota, "cpu-quota", 0, "`microseconds` of a core in each period: --cpus in other words")
	fs.Int64Var(&f.period, "cpu-period", 0, "`microseconds` that --cpu-quota is for (default 100000)")
	fs.StringVar(&f.limits.CPUs, "cpuset-cpus", "", "`cores` it may use, such as 0-2,7")
	fs.StringVar(&f.limits.MemoryNodes, "cpuset-mems", "", "memory `nodes` it may use, such as 0,1")
	fs.Int64Var(&f.limits.PIDs, "pids-limit", 0, "`number` of processes and threads it may have; -1: no limit")
}

// read are the limits that the flags say; what is not said is zero.
func (f *limitFlags) read() (naru.Limits, error) {
	l := f.limits
	l.PIDs = max(l.PIDs, 0) // -1 is docker's word for none
	var errs [4]error
	l.MemoryBytes, errs[0] = parseBytes("--memory", f.memory)
	l.MemoryReservation, errs[1] = parseBytes("--memory-reservation", f.reservation)
	if l.MemorySwap = -1; f.swap != "-1" {
		l.MemorySwap, errs[2] = parseBytes("--memory-swap", f.swap)
	}
	l.NanoCPUs, errs[3] = f.nanoCPUs()
	return l, errors.Join(errs[:]...)
}

// defaultPeriod is the kernel's, in microseconds.
const defaultPeriod = 100_000

func (f *limitFlags) nanoCPUs() (int64, error) {
	switch {
	case f.cpus != "" && (f.quota != 0 || f.period != 0):
		return 0, naru.Errorf(naru.InvalidArgument, "--cpus and --cpu-quota say the same: give one of the two")
	case f.quota < 0 || f.period < 0 || f.quota == 0 && f.period != 0:
		return 0, naru.Errorf(naru.InvalidArgument, "--cpu-quota and --cpu-period: give microseconds of both, such as 50000 of 100000, or --cpus 0.5")
	case f.quota > math.MaxInt64/1_000_000_000:
		return 0, naru.Errorf(naru.InvalidArgument, "--cpu-quota %d is more than any machine has", f.quota)
	case f.quota == 0:
		return parseCPUs(f.cpus)
	case f.period == 0:
		return f.quota * 1e9 / defaultPeriod, nil
	}
	return f.quota * 1e9 / f.period, nil
}

// ioFlags are those of container run that bound what it reads from and writes to block devices.
type ioFlags struct {
	weight                                 uint16
	readBps, writeBps, readIOPS, writeIOPS []string
}

func (f *ioFlags) register(fs *pflag.FlagSet) {
	fs.Uint16Var(&f.weight, "blkio-weight", 0, "its `weight` when disks are short: 10 to 1000")
	for name, to := range map[string]*[]string{"device-read-bps": &f.readBps, "device-write-bps": &f.writeBps,
		"device-read-iops": &f.readIOPS, "device-write-iops": &f.writeIOPS} {
		what := map[bool]string{true: "bytes", false: "operations"}[strings.HasSuffix(name, "bps")]
		fs.StringArrayVar(to, name, nil, "limit of "+what+" a second: `/DEVICE:RATE`")
	}
}

func (f *ioFlags) apply(spec *api.ContainerSpec) error {
	if f.weight != 0 && (f.weight < 10 || f.weight > 1000) {
		return naru.Errorf(naru.InvalidArgument, "--blkio-weight %d: it is from 10 to 1000", f.weight)
	}
	var errs [4]error
	spec.IO.Weight = f.weight
	spec.IO.ReadBps, errs[0] = parseAll(f.readBps, parseRate)
	spec.IO.WriteBps, errs[1] = parseAll(f.writeBps, parseRate)
	spec.IO.ReadIOPS, errs[2] = parseAll(f.readIOPS, parseRate)
	spec.IO.WriteIOPS, errs[3] = parseAll(f.writeIOPS, parseRate)
	return errors.Join(errs[:]...)
}

// parseRate reads /DEVICE:RATE, with a rate such as 1mb.
func parseRate(s string) (naru.IODevice, error) {
	path, rate := splitLast(s)
	n, err := units.RAMInBytes(rate)
	if err != nil || n <= 0 || !strings.HasPrefix(path, "/") {
		return naru.IODevice{}, naru.Errorf(naru.InvalidArgument, "%q: write /DEVICE:RATE, such as /dev/sda:10mb", s)
	}
	return naru.IODevice{Path: path, Rate: uint64(n)}, nil
}

// parseBytes reads a flag's size; empty is zero.
func parseBytes(flag, s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	n, err := units.RAMInBytes(s)
	if err != nil || n <= 0 {
		return 0, naru.Errorf(naru.InvalidArgument, "%s %q: write a size such as 256m or 2g", flag, s)
	}
	return n, nil
}

// parseDiskLimit reads the KEY=VALUE of a flag that is given once a key.
func parseDiskLimit(flag string, options []string) (naru.DiskLimit, error) {
	said := map[string]string{}
	for _, option := range options {
		key, value, _ := strings.Cut(option, "=")
		said[key] = value
	}
	limit, err := naru.ParseDiskLimit(said, units.RAMInBytes)
	if err != nil {
		return limit, naru.Errorf(naru.InvalidArgument, "%s: %w", flag, err)
	}
	return limit, nil
}

func parseCPUs(s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || !(f > 0) || f > math.MaxInt64/1e9 {
		return 0, naru.Errorf(naru.InvalidArgument, "--cpus %q: write a number of cores such as 0.5 or 2", s)
	}
	return int64(f * 1e9), nil
}
