package sandbox

import (
	"slices"
	"strings"

	"github.com/opencontainers/cgroups"
	"github.com/opencontainers/runtime-spec/specs-go"

	"naru/naru"
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
	networkLimits(out, r)
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

func networkLimits(out *cgroups.Resources, r *specs.LinuxResources) {
	if n := r.Network; n != nil {
		out.NetClsClassid = deref(n.ClassID)
		for _, p := range n.Priorities {
			out.NetPrioIfpriomap = append(out.NetPrioIfpriomap, &cgroups.IfPrioMap{Interface: p.Name, Priority: int64(p.Priority)})
		}
	}
	for device, most := range r.Rdma {
		if out.Rdma == nil {
			out.Rdma = map[string]cgroups.LinuxRdma{}
		}
		out.Rdma[device] = cgroups.LinuxRdma{HcaHandles: most.HcaHandles, HcaObjects: most.HcaObjects}
	}
}

// checkControllers refuses limits that need a controller which this machine does not have: the library would pass some
// of them over.
func (g *cgroup) checkControllers(r *specs.LinuxResources) error {
	if r == nil || r.Network == nil && len(r.Rdma) == 0 {
		return nil
	}
	n := deref(r.Network)
	for _, want := range []struct {
		asked             bool
		field, controller string
	}{
		{deref(n.ClassID) != 0, "network.classID", "net_cls"}, {len(n.Priorities) > 0, "network.priorities", "net_prio"},
		{len(r.Rdma) > 0, "rdma", "rdma"},
	} {
		if want.asked && !g.hasController(want.controller) {
			return naru.Errorf(naru.FailedPrecondition, "spec field linux.resources.%s: this machine has no %s cgroups", want.field, want.controller)
		}
	}
	return nil
}

func (g *cgroup) hasController(name string) bool {
	if !cgroups.IsCgroup2UnifiedMode() {
		return g.manager != nil && g.manager.Path(name) != ""
	}
	has, err := cgroups.ReadFile(cgroupMount, "cgroup.controllers")
	return err == nil && slices.Contains(strings.Fields(has), name)
}

func deref[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}
