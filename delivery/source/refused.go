package source

// serviceRefused are the keys of a Compose service that naru refuses, with what to do instead.
func serviceRefused() map[string]string {
	const (
		confined = "remove it: naru confines containers by itself, each with a user namespace of its own"
		limits   = "use `cpus`, `mem_limit` and `pids_limit`"
		config   = "use `naru config set NAME=value`: values reach the service as environment variables"
		resolver = "remove it: names of services are answered by naru, all others by the machine's resolver"
		hooks    = "do it in the image's entrypoint"
		labels   = "remove it: labels mean nothing to naru; routes are said in x-naru"
		devices  = "remove it: containers get no devices of the host"
		oneNet   = "remove it: the services of an app share one network of their own"
	)
	return map[string]string{
		"annotations":         labels,
		"attach":              "remove it: `naru logs SERVICE` shows the output",
		"blkio_config":        limits,
		"cap_add":             confined,
		"cap_drop":            confined,
		"cgroup":              confined,
		"cgroup_parent":       confined,
		"configs":             config,
		"container_name":      "remove it: a service has several instances; others find it under the service's name",
		"cpu_count":           limits,
		"cpu_percent":         limits,
		"cpu_period":          limits,
		"cpu_quota":           limits,
		"cpu_rt_period":       limits,
		"cpu_rt_runtime":      limits,
		"cpu_shares":          limits,
		"cpuset":              limits,
		"credential_spec":     "remove it: it is for Windows",
		"develop":             "remove it: run `naru up` again after a change",
		"device_cgroup_rules": devices,
		"devices":             devices,
		"dns":                 resolver,
		"dns_opt":             resolver,
		"dns_search":          resolver,
		"domainname":          resolver,
		"external_links":      "name the other app by the URI of its route",
		"extra_hosts":         resolver,
		"gpus":                devices,
		"group_add":           "add the user to the group in the image",
		"hostname":            "remove it: an instance's host name is its id, which stays its own",
		"ipc":                 confined,
		"isolation":           "remove it: it is for Windows",
		"label_file":          labels,
		"labels":              labels,
		"links":               "remove it: services find each other under their names",
		"logging":             "remove it: naru keeps the output, bounded; `naru logs SERVICE` shows it",
		"mac_address":         oneNet,
		"mem_reservation":     limits,
		"mem_swappiness":      limits,
		"memswap_limit":       limits,
		"models":              "run the model as a service, and name it by URI in the environment",
		"network_mode":        oneNet,
		"networks":            oneNet,
		"oom_kill_disable":    "use `mem_limit` with room to spare",
		"oom_score_adj":       "use `mem_limit`",
		"pid":                 confined,
		"platform":            "remove it: containers run on the machine's own platform",
		"post_start":          hooks,
		"pre_start":           hooks,
		"pre_stop":            "handle the stop signal in the program, within `stop_grace_period`",
		"privileged":          confined,
		"profiles":            "take the service out of this file: naru runs every service in it",
		"provider":            "run it as a service of its own, or name it by URI in the environment",
		"pull_policy":         "remove it: an image that is there is used, one that is not is pulled",
		"pull_refresh_after":  "remove it: an image that is there is used, one that is not is pulled",
		"runtime":             confined,
		"secrets":             config,
		"security_opt":        confined,
		"shm_size":            "mount one: `tmpfs: [\"/dev/shm:size=64m\"]`",
		"stdin_open":          "remove it: `naru run` and `naru exec` give a process your terminal",
		"storage_opt":         "remove it",
		"sysctls":             confined,
		"tty":                 "remove it: `naru run` and `naru exec` give a process your terminal",
		"ulimits":             "remove it, or raise the machine's own limits",
		"umask":               "set it in the image's entrypoint",
		"use_api_socket":      confined,
		"userns_mode":         confined,
		"uts":                 confined,
		"volumes_from":        "name the volume in both services",
	}
}
