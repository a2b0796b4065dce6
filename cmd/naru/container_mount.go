package main

import (
	"path/filepath"
	"strings"

	"naru/api"
	"naru/naru"
)

// parseMounts reads --volume and --mount.
func parseMounts(volumes, mounts []string) ([]api.Mount, error) {
	var out []api.Mount
	for _, s := range volumes {
		m, err := parseVolume(s)
		if err != nil {
			return nil, err
		}
		out = append(out, api.Mount{VolumeMount: m})
	}
	more, err := parseAll(mounts, parseMount)
	return append(out, more...), err
}

// parseMount reads docker's --mount: KEY=VALUE,… in any order.
func parseMount(s string) (api.Mount, error) {
	wrong := func(why string) error {
		return naru.Errorf(naru.InvalidArgument, "--mount %q: %s", s, why)
	}
	var m api.Mount
	kind, source := "volume", ""
	var options []string
	for _, field := range strings.Split(s, ",") {
		key, value, _ := strings.Cut(field, "=")
		switch key {
		case "type":
			kind = value
		case "source", "src":
			source = value
		case "target", "dst", "destination":
			m.Target = value
		case "readonly", "ro":
			m.ReadOnly = value != "false" && value != "0"
		case "volume-subpath":
			m.Subpath = value
		case "volume-opt":
			options = append(options, value)
		default:
			return m, wrong("the key " + key + " is none of type, source, target, readonly, volume-subpath, volume-opt")
		}
	}
	var err error
	if m.Limit, err = parseDiskLimit("--mount: volume-opt", options); err != nil {
		return m, err
	}
	if !filepath.IsAbs(m.Target) {
		return m, wrong("target must be an absolute path in the container")
	}
	if source == "" {
		return m, wrong("source is missing: the volume's name, or the folder of the host")
	}
	switch kind {
	case "volume":
		m.Volume = naru.VolumeName(source)
	case "bind":
		m.HostPath = source
	default:
		return m, wrong("type must be volume or bind; for memory there is --tmpfs")
	}
	if (m.Subpath != "" || options != nil) && kind != "volume" {
		return m, wrong("volume-subpath and volume-opt are for volumes")
	}
	return m, nil
}
