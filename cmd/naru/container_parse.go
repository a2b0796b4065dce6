package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"

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
func environment(files, texts []string, env func(string) string) ([]string, error) {
	all, err := readLines("--env-file", files)
	if err != nil {
		return nil, err
	}
	return parseEnv(append(all, texts...), env)
}

// readLines are the lines of files that are neither empty nor a comment.
func readLines(flag string, files []string) ([]string, error) {
	var all []string
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, naru.Errorf(naru.InvalidArgument, "%s: %w", flag, err)
		}
		for line := range strings.Lines(string(text)) {
			line = strings.TrimRight(line, "\r\n")
			if trimmed := strings.TrimSpace(line); trimmed != "" && trimmed[0] != '#' {
				all = append(all, strings.TrimLeft(line, " \t"))
			}
		}
	}
	return all, nil
}

// labels are what the files say, and after it, so that it wins, what stands on the command line.
func labels(files, texts []string) (map[string]string, error) {
	all, err := readLines("--label-file", files)
	if err != nil {
		return nil, err
	}
	return parseLabels(append(all, texts...))
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
		for _, word := range strings.Split(parts[2], ",") {
			switch word {
			case "ro":
				m.ReadOnly = true
			case "rw", "z", "Z": // z: for SELinux to let the container have it, as it does without
			default:
				return m, naru.Errorf(naru.InvalidArgument, "--volume %q: after the target comes ro or rw, not %q", s, word)
			}
		}
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
