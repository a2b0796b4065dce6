package main

import (
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/docker/go-units"

	"naru/naru"
)

// parseAll parses each text.
func parseAll[T any](texts []string, parse func(string) (T, error)) ([]T, error) {
	var out []T
	for _, s := range texts {
		v, err := parse(s)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

// parseEnv completes NAME alone with our own value, and leaves it out when we have none, as docker does.
func parseEnv(texts []string, env func(string) string) ([]string, error) {
	var out []string
	for _, s := range texts {
		name, _, hasValue := strings.Cut(s, "=")
		switch {
		case name == "":
			return nil, naru.Errorf(naru.InvalidArgument, "--env %q: write NAME=VALUE", s)
		case hasValue:
			out = append(out, s)
		case env(name) != "":
			out = append(out, name+"="+env(name))
		}
	}
	return out, nil
}

// environment is what the files say, and after it, so that it wins, what stands on the command line.
func (f *runFlags) environment(env func(string) string) ([]string, error) {
	var all []string
	for _, path := range f.envFiles {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, naru.Errorf(naru.InvalidArgument, "--env-file: %w", err)
		}
		for line := range strings.Lines(string(text)) {
			line = strings.TrimRight(line, "\r\n")
			if trimmed := strings.TrimSpace(line); trimmed != "" && trimmed[0] != '#' {
				all = append(all, strings.TrimLeft(line, " \t"))
			}
		}
	}
	return parseEnv(append(all, f.env...), env)
}

func parseLabels(texts []string) (map[string]string, error) {
	var out map[string]string
	for _, s := range texts {
		key, value, _ := strings.Cut(s, "=")
		if key == "" {
			return nil, naru.Errorf(naru.InvalidArgument, "--label %q: write KEY=VALUE", s)
		}
		if out == nil {
			out = map[string]string{}
		}
		out[key] = value
	}
	return out, nil
}

// splitLast cuts at the last colon; what has none is all last.
func splitLast(s string) (before, last string) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 {
		return "", s
	}
	return s[:i], s[i+1:]
}

func parsePortNumber(s string) (uint16, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n == 0 {
		return 0, naru.Errorf(naru.InvalidArgument, "port %q is not a number from 1 to 65535", s)
	}
	return uint16(n), nil
}

// parseVolume reads NAME:/TARGET or /FOLDER:/TARGET, with :ro behind it for reading only. A folder may be relative to
// the current one when it begins with a dot.
func parseVolume(s string) (naru.VolumeMount, error) {
	parts := strings.Split(s, ":")
	if len(parts) < 2 || len(parts) > 3 || parts[0] == "" || !filepath.IsAbs(parts[1]) {
		return naru.VolumeMount{}, naru.Errorf(naru.InvalidArgument, "--volume %q: write NAME:/TARGET or /FOLDER:/TARGET, with :ro behind it for reading only", s)
	}
	m := naru.VolumeMount{Target: parts[1]}
	if len(parts) == 3 {
		if parts[2] != "ro" && parts[2] != "rw" {
			return m, naru.Errorf(naru.InvalidArgument, "--volume %q: after the target comes ro or rw, not %q", s, parts[2])
		}
		m.ReadOnly = parts[2] == "ro"
	}
	if !strings.ContainsAny(parts[0][:1], "/.") {
		m.Volume = naru.VolumeName(parts[0])
		return m, nil
	}
	path, err := filepath.Abs(parts[0])
	if err != nil {
		return m, naru.Errorf(naru.InvalidArgument, "--volume %q: %w", s, err)
	}
	m.HostPath = path
	return m, nil
}

func parseMemory(s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	n, err := units.RAMInBytes(s)
	if err != nil || n <= 0 {
		return 0, naru.Errorf(naru.InvalidArgument, "--memory %q: write a size such as 256m or 2g", s)
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
