package source

// rule says what may stand at a place of a Compose file.
type rule struct {
	keys    map[string]rule   // of a mapping (or of the mappings in a list): those that naru honours
	refused map[string]string // those that Compose has and naru refuses, with what to do instead
	each    *rule             // for every value of a mapping with free keys
	open    bool              // a mapping with free keys below which nothing is checked
}

// Each function below is one mapping of the Compose file: https://github.com/compose-spec/compose-spec/blob/main/spec.md.
// A key of the specification stands in exactly one of keys and refused; a test holds this against compose-go's schema.

func fileRule() rule {
	service, volume := serviceRule(), volumeRule()
	return rule{
		keys: map[string]rule{
			"version":  {}, // obsolete in Compose itself, which says that it means nothing
			"name":     {},
			"services": {each: &service},
			"volumes":  {each: &volume},
		},
		refused: map[string]string{
			"include":  "put the services into this file, or lay a second one over it as compose.override.yaml",
			"networks": "remove it: the services of an app share one network of their own, and nobody else is in it",
			"secrets":  "set secrets with `naru config set NAME=value`: they reach the services as environment variables",
			"configs":  "set values with `naru config set NAME=value`, or build files into the image",
			"models":   "run the model as a service, and name it by URI in the environment",
			"jobs":     "run a one-off process with `naru run SERVICE COMMAND`",
		},
	}
}

func volumeRule() rule {
	return rule{
		keys: map[string]rule{"driver_opts": diskRule()},
		refused: map[string]string{
			"driver":   "remove it: volumes are folders on the machine's own disk",
			"external": "remove it: a volume belongs to its app; mount a folder of the host to share data: `- /srv/data:/data`",
			"labels":   "remove it: labels mean nothing to naru",
			"name":     "remove it: a volume's name is its key",
		},
	}
}

// diskRule is for the options that limit a folder.
func diskRule() rule {
	const instead = "remove it, or mount a folder of the host: `- /srv/data:/data`"
	return rule{
		keys:    map[string]rule{"size": {}, "inodes": {}},
		refused: map[string]string{"type": instead, "device": instead, "o": "write `size: 1g`, or mount a folder of the host"},
	}
}

func serviceRule() rule {
	return rule{keys: serviceKeys(), refused: serviceRefused}
}

func serviceKeys() map[string]rule {
	return map[string]rule{
		"build":             buildRule(),
		"command":           {},
		"cpus":              {},
		"depends_on":        {each: dependencyRule()},
		"deploy":            deployRule(),
		"entrypoint":        {},
		"env_file":          {keys: map[string]rule{"path": {}, "required": {}, "format": {}}},
		"environment":       {open: true},
		"expose":            {},
		"extends":           {keys: map[string]rule{"file": {}, "service": {}}},
		"healthcheck":       healthcheckRule(),
		"image":             {},
		"init":              {},
		"mem_limit":         {},
		"pids_limit":        {},
		"ports":             portRule(),
		"read_only":         {},
		"restart":           {},
		"scale":             {},
		"stop_grace_period": {},
		"stop_signal":       {},
		"storage_opt":       diskRule(),
		"tmpfs":             {},
		"user":              {},
		"volumes":           mountRule(),
		"working_dir":       {},
		extensionKey:        extensionRule(),
	}
}

func buildRule() rule {
	return rule{
		keys: map[string]rule{"context": {}, "dockerfile": {}, "target": {}, "args": {open: true}},
		refused: map[string]string{
			"additional_contexts": "copy what is needed below the build context",
			"cache_from":          "remove it: naru keeps one build cache for all builds",
			"cache_to":            "remove it: naru keeps one build cache for all builds",
			"dockerfile_inline":   "write it into a Dockerfile",
			"entitlements":        "remove it: build steps run as confined as containers do",
			"extra_hosts":         "use the host's name in DNS",
			"isolation":           "remove it: it is for Windows",
			"labels":              "write LABEL in the Dockerfile",
			"network":             "remove it: build steps can reach the network",
			"no_cache":            "remove it: a changed step is built again by itself",
			"no_cache_filter":     "remove it: a changed step is built again by itself",
			"platforms":           "remove it: images are built for the machine they run on",
			"privileged":          "remove it: build steps run as confined as containers do",
			"provenance":          "remove it",
			"pull":                "remove it: pull the base image by hand with `naru pull`",
			"sbom":                "remove it",
			"secrets":             "naru gives no secrets to builds yet: fetch at run time what needs one",
			"shm_size":            "remove it",
			"ssh":                 "naru forwards no SSH keys to builds yet: vendor what needs them",
			"tags":                "remove it: naru names images by digest",
			"ulimits":             "remove it",
		},
	}
}

func dependencyRule() *rule {
	return &rule{
		keys: map[string]rule{"condition": {}, "required": {}},
		refused: map[string]string{
			"restart": "remove it: services find each other by name, so they outlive each other's restarts",
		},
	}
}

func deployRule() rule {
	limits := rule{keys: map[string]rule{"cpus": {}, "memory": {}, "pids": {}}}
	return rule{
		keys: map[string]rule{
			"replicas": {},
			"resources": {
				keys:    map[string]rule{"limits": limits},
				refused: map[string]string{"reservations": "use `limits`: on one machine nothing is reserved"},
			},
		},
		refused: map[string]string{
			"endpoint_mode":   "remove it: requests are balanced by the router",
			"labels":          "remove it: labels mean nothing to naru",
			"mode":            "use `replicas`",
			"placement":       "remove it: there is one machine",
			"restart_policy":  "use the service's `restart`",
			"rollback_config": "remove it: a rollout that fails goes back by itself",
			"update_config":   "say it as `x-naru: {rollout: {strategy: blue-green}}`, or recreate, or canary with steps",
		},
	}
}

func healthcheckRule() rule {
	return rule{
		keys: map[string]rule{"test": {}, "interval": {}, "timeout": {}, "retries": {}, "start_period": {}, "disable": {}},
		refused: map[string]string{
			"start_interval": "remove it: an instance that is starting is probed often by itself",
		},
	}
}

func portRule() rule {
	return rule{
		keys: map[string]rule{"target": {}, "published": {}, "host_ip": {}, "protocol": {}},
		refused: map[string]string{
			"app_protocol": "remove it: published ports carry TCP and UDP as they are",
			"mode":         "remove it: there is one machine",
			"name":         "remove it",
		},
	}
}

func mountRule() rule {
	return rule{
		keys: map[string]rule{
			"type": {}, "source": {}, "target": {}, "read_only": {},
			"tmpfs": {keys: map[string]rule{"size": {}, "mode": {}}},
		},
		refused: map[string]string{
			"bind":        "remove it: the folder must exist, and mounts in it do not propagate",
			"consistency": "remove it",
			"image":       "copy the files into the service's own image with COPY --from",
			"volume":      "remove it: a volume is mounted whole, and begins empty",
		},
	}
}
