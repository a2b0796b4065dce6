package main

import (
	"errors"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"naru/naru"
)

// absent are docker's flags that naru does not have, and what to do instead; those of one verb only are "VERB flag".
var absent = map[string]string{
	"a": "leave it out: output is always attached, and input with -i", "attach": "leave it out: output is always attached, and input with -i",
	"annotation": "use --label", "blkio-weight-device": "use --blkio-weight, or --device-read-bps and its kin",
	"cgroup-parent":         "each container has a cgroup of its own below naru's; bound it with --memory, --cpus and their kin",
	"cpu-rt-period":         "the kernel gives out real time by cgroup on few machines; use --cpu-shares",
	"cpu-rt-runtime":        "the kernel gives out real time by cgroup on few machines; use --cpu-shares",
	"cpu-count":             "it is Windows'; use --cpus",
	"cpu-percent":           "it is Windows'; use --cpus",
	"disable-content-trust": "leave it out: nothing is signed",
	"dns-opt":               "use --dns-option",
	"gpus":                  "there is no GPU driver in naru; give it the devices and the libraries with --device and -v",
	"io-maxbandwidth":       "it is Windows'; use --device-read-bps and --device-write-bps",
	"io-maxiops":            "it is Windows'; use --device-read-iops and --device-write-iops",
	"ip6":                   "the address of IPv6 follows from that of --ip",
	"isolation":             "it is Windows'; leave it out",
	"kernel-memory":         "use --memory, of which the kernel's is a part",
	"link":                  "put both on a network: there they know each other's names",
	"link-local-ip":         "name an address of its network with --ip",
	"memory-swappiness":     "use --memory-swap; cgroup v2 has nothing like it",
	"oom-kill-disable":      "use --oom-score-adj; cgroup v2 has nothing like it",
	"platform":              "images of this machine's platform run",
	"privileged":            "name what it needs instead: --cap-add, --device, --security-opt, --volume, --network host, --userns host",
	"runtime":               "leave it out: naru is the runtime",
	"sig-proxy":             "leave it out: signals are passed on, unless there is a terminal",
	"use-api-socket":        "name the socket with -v",
	"volume-driver":         "mount the storage on the host, and name its folder with -v",

	"attach sig-proxy": "leave it out: signals are passed on, unless there is a terminal", "cp L": "copy the file that the link leads to",
	"cp follow-link":   "copy the file that the link leads to",
	"exec detach-keys": "what exec starts ends with it: --detach leaves it running",
	"exec privileged":  "say what it needs when the container is made: --cap-add, --security-opt",
	"inspect s":        "see naru system df", "inspect size": "see naru system df", "ls s": "see naru system df", "ls size": "see naru system df",
	"logs details": "see the labels of naru container inspect", "rm l": "there are no links", "rm link": "there are no links",
	"restart s": "use --stop-signal when it is made", "restart signal": "use --stop-signal when it is made",
	"stop s": "use naru container kill --signal", "stop signal": "use naru container kill --signal",
	"start checkpoint": "naru makes no checkpoints", "start checkpoint-dir": "naru makes no checkpoints",
	"stats a": "only what runs uses anything", "stats all": "only what runs uses anything",
	"update blkio-weight": "say it when it is made",

	"connect driver-opt": "leave it out", "connect gw-priority": "the first network that is not internal is the way to the world",
	"create attachable": "leave it out: containers can always be put on it", "create aux-address": "choose a subnet without them",
	"create config-from": "leave it out", "create config-only": "leave it out", "create d": "leave it out: every network is a bridge",
	"create driver": "leave it out: every network is a bridge, every volume a folder here", "create ingress": "it is a swarm's",
	"create ip-range": "name a --subnet, and addresses in it with --ip", "create ipam-driver": "leave it out", "create ipam-opt": "leave it out",
	"create ipv4": "leave it out: there is always IPv4", "create ipv6": "leave it out: there is always IPv6 where the host has it",
	"create o": "leave it out", "create opt": "leave it out", "create scope": "leave it out: it is this machine's",
	"create availability": swarm, "create group": swarm, "create limit-bytes": "use -o size=…", "create required-bytes": swarm,
	"create secret": swarm, "create sharing": swarm, "create topology-preferred": swarm, "create topology-required": swarm,
	"create type": swarm, "ls cluster": swarm,
	"create label": "choose a name that tells", "disconnect f": "leave it out", "disconnect force": "leave it out",
	"inspect v": "all is shown", "inspect verbose": "all is shown", "inspect platform": "images of this machine's platform are here",
	"prune filter": "name those to remove with rm", "prune all": "name those to remove with rm", "prune a": "name those to remove with rm",

	"import c": "say it in a Dockerfile that begins FROM it", "import change": "say it in a Dockerfile that begins FROM it",
	"import m": "leave it out", "import message": "leave it out", "ls tree": "there is one platform, this machine's",
	"pull a": "name each tag", "pull all-tags": "name each tag", "rm no-prune": "leave it out", "df v": "see the lists with --json",
	"df verbose": "see the lists with --json",
}

const swarm = "it is a swarm's; leave it out"

// absentVerbs are docker's verbs that naru does not have, and what to do instead.
var absentVerbs = map[string]string{
	"container commit": "write what was changed into a Dockerfile, or keep the files: naru container export CONTAINER | naru image import - NAME",
	"image build":      "naru up builds what a folder says",
	"image history":    "naru image inspect tells what it runs",
	"image prune":      "name those to remove with naru image rm; naru system prune removes content that no image has",
	"image push":       "naru has no registry of its own yet, and pushes to none",
	"image save":       "keep the archive that it was imported from, or the files: naru container export",
	"system info":      "see naru version, naru system df and naru container ls",
	"volume update":    "it is a swarm's",
}

// refuseAbsent tells a flag that docker has and naru has not from one that nobody has.
func refuseAbsent(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) {
		return err
	}
	name := unknown.GetSpecifiedName()
	cure, known := absent[cmd.Name()+" "+name]
	if !known {
		cure, known = absent[name]
	}
	if !known {
		return err
	}
	dashes := "--"
	if len(name) == 1 {
		dashes = "-"
	}
	return naru.Errorf(naru.InvalidArgument, "naru has no %s%s: %s", dashes, name, cure)
}

// absentVerb says what to do instead of a verb of docker's, when it is one.
func absentVerb(cmd *cobra.Command, verb string) error {
	_, noun, _ := strings.Cut(cmd.CommandPath(), " ")
	if cure, known := absentVerbs[noun+" "+verb]; known {
		return naru.Errorf(naru.InvalidArgument, "naru has no %s %s: %s", noun, verb, cure)
	}
	return nil
}
