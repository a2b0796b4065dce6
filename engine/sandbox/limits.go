package sandbox

import (
	"github.com/opencontainers/cgroups"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// cgroupResources translates a spec's limits. Devices are left out: see limitDevices.
func cgroupResources(r *specs.LinuxResources) *cgroups.Resources {
	out := &cgroups.Resources{}
	if r == nil {
		return out
	}
	if m := r.Memory; m != nil {
		out.Memory, out.MemoryReservation, out.MemorySwap = deref(m.Limit), deref(m.Reservation), deref(m.Swap)
		out.MemorySwappiness, out.OomKillDisable = m.Swappiness, deref(m.DisableOOMKiller)
		out.MemoryCheckBeforeUpdate = deref(m.CheckBeforeUpdate)
	}
	if c := r.CPU; c != nil {
		out.CpuShares, out.CpuQuota, out.CpuPeriod, out.CpuBurst = deref(c.Shares), deref(c.Quota), deref(c.Period), c.Burst
		out.CpuWeight = cgroups.ConvertCPUSharesToCgroupV2Value(out.CpuShares)
		out.CpuRtRuntime, out.CpuRtPeriod = deref(c.RealtimeRuntime), deref(c.RealtimePeriod)
		out.CpusetCpus, out.CpusetMems, out.CPUIdle = c.Cpus, c.Mems, c.Idle
	}
	if r.Pids != nil {
		out.PidsLimit = r.Pids.Limit
	}
	for _, h := range r.HugepageLimits {
		out.HugetlbLimit = append(out.HugetlbLimit, &cgroups.HugepageLimit{Pagesize: h.Pagesize, Limit: h.Limit})
	}
	blockLimits(out, r.BlockIO)
	out.Unified = r.Unified
	return out
}

func blockLimits(out *cgroups.Resources, b *specs.LinuxBlockIO) {
	if b == nil {
		return
	}
	out.BlkioWeight, out.BlkioLeafWeight = deref(b.Weight), deref(b.LeafWeight)
	for _, w := range b.WeightDevice {
		out.BlkioWeightDevice = append(out.BlkioWeightDevice, cgroups.NewWeightDevice(w.Major, w.Minor, deref(w.Weight), deref(w.LeafWeight)))
	}
	throttle := func(devices []specs.LinuxThrottleDevice) (all []*cgroups.ThrottleDevice) {
		for _, d := range devices {
			all = append(all, cgroups.NewThrottleDevice(d.Major, d.Minor, d.Rate))
		}
		return all
	}
	out.BlkioThrottleReadBpsDevice, out.BlkioThrottleWriteBpsDevice = throttle(b.ThrottleReadBpsDevice), throttle(b.ThrottleWriteBpsDevice)
	out.BlkioThrottleReadIOPSDevice, out.BlkioThrottleWriteIOPSDevice = throttle(b.ThrottleReadIOPSDevice), throttle(b.ThrottleWriteIOPSDevice)
}

func deref[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}
