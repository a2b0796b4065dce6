package source

// What to do instead, where one cure is for many keys.
const (
	insteadConfined = "remove it: naru confines containers by itself, each with a user namespace of its own"
	insteadLimits   = "use `cpus`, `mem_limit` and `pids_limit`"
	insteadConfig   = "use `naru config set NAME=value`: values reach the service as environment variables"
	insteadResolver = "remove it: names of services are answered by naru, all others by the machine's resolver"
	insteadHooks    = "do it in the image's entrypoint"
	insteadLabels   = "remove it: labels mean nothing to naru; routes are said in x-naru"
	insteadDevices  = "remove it: containers get no devices of the host"
	insteadOneNet   = "remove it: the services of an app share one network of their own"
)

// serviceRefused are the keys of a Compose service that naru refuses, with what to do instead.
var serviceRefused = map[string]string{
	"annotations":         insteadLabels,
	"attach":              "remove it: `naru logs SERVICE` shows the output",
	"blkio_config":        insteadLimits,
	"cap_add":             insteadConfined,
	"cap_drop":            insteadConfined,
	"cgroup":              insteadConfined,
	"cgroup_parent":       insteadConfined,
	"configs":             insteadConfig,
	"container_name":      "remove it: a service has several instances; others find it under the service's name",
	"cpu_count":           insteadLimits,
	"cpu_percent":         insteadLimits,
	"cpu_period":          insteadLimits,
	"cpu_quota":           insteadLimits,
	"cpu_rt_period":       insteadLimits,
	"cpu_rt_runtime":      insteadLimits,
	"cpu_shares":          insteadLimits,
	"cpuset":              insteadLimits,
	"credential_spec":     "remove it: it is for Windows",
	"develop":             "remove it: run `naru up` again after a change",
	"device_cgroup_rules": insteadDevices,
	"devices":             insteadDevices,
	"dns":                 insteadResolver,
	"dns_opt":             insteadResolver,
	"dns_search":          insteadResolver,
	"domainname":          insteadResolver,
	"external_links":      "name the other app by the URI of its route",
	"extra_hosts":         insteadResolver,
	"gpus":                insteadDevices,
	"group_add":           "add the user to the group in the image",
	"hostname":            "remove it: an instance's host name is its id, which stays its own",
	"ipc":                 insteadConfined,
	"isolation":           "remove it: it is for Windows",
	"label_file":          insteadLabels,
	"labels":              insteadLabels,
	"links":               "remove it: services find each other under their names",
	"logging":             "remove it: naru keeps the output, bounded; `naru logs SERVICE` shows it",
	"mac_address":         insteadOneNet,
	"mem_reservation":     insteadLimits,
	"mem_swappiness":      insteadLimits,
	"memswap_limit":       insteadLimits,
	"models":              "run the model as a service, and name it by URI in the environment",
	"network_mode":        insteadOneNet,
	"networks":            insteadOneNet,
	"oom_kill_disable":    "use `mem_limit` with room to spare",
	"oom_score_adj":       "use `mem_limit`",
	"pid":                 insteadConfined,
	"platform":            "remove it: containers run on the machine's own platform",
	"post_start":          insteadHooks,
	"pre_start":           insteadHooks,
	"pre_stop":            "handle the stop signal in the program, within `stop_grace_period`",
	"privileged":          insteadConfined,
	"profiles":            "take the service out of this file: naru runs every service in it",
	"provider":            "run it as a service of its own, or name it by URI in the environment",
	"pull_policy":         "remove it: an image that is there is used, one that is not is pulled",
	"pull_refresh_after":  "remove it: an image that is there is used, one that is not is pulled",
	"runtime":             insteadConfined,
	"secrets":             insteadConfig,
	"security_opt":        insteadConfined,
	"shm_size":            "mount one: `tmpfs: [\"/dev/shm:size=64m\"]`",
	"stdin_open":          "remove it: `naru run` and `naru exec` give a process your terminal",
	"sysctls":             insteadConfined,
	"tty":                 "remove it: `naru run` and `naru exec` give a process your terminal",
	"ulimits":             "remove it, or raise the machine's own limits",
	"umask":               "set it in the image's entrypoint",
	"use_api_socket":      insteadConfined,
	"userns_mode":         insteadConfined,
	"uts":                 insteadConfined,
	"volumes_from":        "name the volume in both services",
}
