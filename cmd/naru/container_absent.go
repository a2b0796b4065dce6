package main

import (
	"errors"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"naru/naru"
)

// absent are docker's flags of run and create that naru does not have, and what to do instead.
var absent = map[string]string{
	"a": "leave it out: output is always attached, and input with -i", "attach": "leave it out: output is always attached, and input with -i",
	"blkio-weight": "", "blkio-weight-device": "", "device-read-bps": "", "device-read-iops": "", "device-write-bps": "", "device-write-iops": "",
	"cap-add": "", "cap-drop": "", "cgroup-parent": "", "cgroupns": "leave it out: every container has a cgroup namespace of its own",
	"cidfile":    "redirect the output of create, or of run -d, which is the id",
	"cpu-period": "use --cpus", "cpu-quota": "use --cpus", "cpu-rt-period": "", "cpu-rt-runtime": "", "cpu-shares": "use --cpus", "c": "use --cpus",
	"cpuset-cpus": "use --cpus", "cpuset-mems": "", "detach-keys": "Ctrl-P Ctrl-Q detaches",
	"device": "", "device-cgroup-rule": "", "disable-content-trust": "leave it out", "dns-opt": "", "dns-option": "", "dns-search": "",
	"domainname": "use --hostname", "expose": "leave it out: every port is open to the networks the container is on, and -p publishes",
	"gpus": "", "group-add": "use --user USER:GROUP", "ip6": "", "ipc": "", "isolation": "",
	"kernel-memory": "use --memory", "label-file": "use --label", "link": "put both on a network: there they know each other's names", "link-local-ip": "",
	"log-driver":         "the daemon forwards what all containers print: naru server --log-forward",
	"log-opt":            "the daemon forwards what all containers print: naru server --log-forward",
	"memory-reservation": "use --memory", "memory-swap": "use --memory", "memory-swappiness": "use --memory",
	"oom-kill-disable": "", "oom-score-adj": "", "pid": "", "platform": "images of this machine's platform run",
	"privileged":  "name what it needs instead: --volume, --network host, --userns host",
	"publish-all": "name the ports with -p", "P": "name the ports with -p", "pull": "import the image first: naru image import", "quiet": "leave it out", "q": "leave it out",
	"runtime": "leave it out: naru is the runtime", "security-opt": "", "shm-size": "", "sig-proxy": "leave it out", "sysctl": "", "ulimit": "", "uts": "",
	"volume-driver": "", "volumes-from": "name the volumes with -v",
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
	if cure == "" {
		return naru.Errorf(naru.InvalidArgument, "naru has no %s%s yet", dashes, name)
	}
	return naru.Errorf(naru.InvalidArgument, "naru has no %s%s: %s", dashes, name, cure)
}
