package main

import (
	"errors"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"naru/naru"
)

// absent are docker's flags that naru does not have, and what to do instead.
var absent = map[string]string{
	"a": "leave it out: output is always attached, and input with -i", "attach": "leave it out: output is always attached, and input with -i",
	"annotation": "use --label", "blkio-weight-device": "use --blkio-weight, or --device-read-bps and its kin",
	"cgroup-parent":         "each container has a cgroup of its own below naru's; bound it with --memory, --cpus and their kin",
	"cpu-rt-period":         "the kernel gives out real time by cgroup on few machines; use --cpu-shares",
	"cpu-rt-runtime":        "the kernel gives out real time by cgroup on few machines; use --cpu-shares",
	"cpu-count":             "it is Windows'; use --cpus",
	"cpu-percent":           "it is Windows'; use --cpus",
	"disable-content-trust": "leave it out: nothing is signed",
	"dns-opt":               "use --dns-option", "gpus": "there is no GPU driver in naru; give it the devices and the libraries with --device and -v",
	"io-maxbandwidth": "it is Windows'; use --device-read-bps and --device-write-bps", "io-maxiops": "it is Windows'; use --device-read-iops and --device-write-iops",
	"ip6": "the address of IPv6 follows from that of --ip", "isolation": "it is Windows'; leave it out",
	"kernel-memory": "use --memory, of which the kernel's is a part", "link": "put both on a network: there they know each other's names",
	"link-local-ip": "name an address of its network with --ip", "memory-swappiness": "use --memory-swap; cgroup v2 has nothing like it",
	"oom-kill-disable": "use --oom-score-adj; cgroup v2 has nothing like it", "platform": "images of this machine's platform run",
	"privileged": "name what it needs instead: --cap-add, --device, --security-opt, --volume, --network host, --userns host",
	"runtime":    "leave it out: naru is the runtime", "sig-proxy": "leave it out: signals are passed on, unless there is a terminal",
	"use-api-socket": "name the socket with -v", "volume-driver": "mount the storage on the host, and name its folder with -v",
}

// refuseAbsent tells a flag that docker has and naru has not from one that nobody has.
func refuseAbsent(_ *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) {
		return err
	}
	name := unknown.GetSpecifiedName()
	cure, known := absent[name]
	if !known {
		return err
	}
	dashes := "--"
	if len(name) == 1 {
		dashes = "-"
	}
	return naru.Errorf(naru.InvalidArgument, "naru has no %s%s: %s", dashes, name, cure)
}
