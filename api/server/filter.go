package server

import (
	"slices"
	"strconv"
	"strings"

	"naru/api"
	"naru/naru"
)

// filters choose containers, as docker's do: of one key any value will do, and every key must agree.
type filters map[string][]string

// filterKeys tell whether a container agrees with one value.
var filterKeys = map[string]func(c api.Container, value string) bool{
	"id":       func(c api.Container, v string) bool { return strings.HasPrefix(c.ID, v) },
	"name":     func(c api.Container, v string) bool { return strings.Contains(c.Name, strings.TrimPrefix(v, "/")) },
	"status":   func(c api.Container, v string) bool { return c.State == v },
	"exited":   func(c api.Container, v string) bool { return c.State == "exited" && strconv.Itoa(c.ExitCode) == v },
	"ancestor": func(c api.Container, v string) bool { return isOf(c, v) },
	"network": func(c api.Container, v string) bool {
		return c.Spec.Network == v || (c.Spec.Network == "" && v == "bridge")
	},
	"health": func(c api.Container, v string) bool {
		return c.Health == nil && v == "none" || c.Health != nil && c.Health.Status == v
	},
	"volume": hasMount,
	"label":  hasLabel,
}

func parseFilters(texts []string) (filters, error) {
	out := filters{}
	for _, s := range texts {
		key, value, ok := strings.Cut(s, "=")
		if _, known := filterKeys[key]; !known || !ok {
			return nil, naru.Errorf(naru.InvalidArgument, "filter %q: write KEY=VALUE, with one of ancestor, exited, health, id, label, name, network, status, volume", s)
		}
		out[key] = append(out[key], value)
	}
	return out, nil
}

// asksForState reports whether the filters name containers that do not run.
func (f filters) asksForState() bool { return len(f["status"])+len(f["exited"]) > 0 }

func (f filters) match(c api.Container) bool {
	for key, values := range f {
		agrees := filterKeys[key]
		if key == "label" { // here every value must agree
			if slices.ContainsFunc(values, func(v string) bool { return !agrees(c, v) }) {
				return false
			}
			continue
		}
		if !slices.ContainsFunc(values, func(v string) bool { return agrees(c, v) }) {
			return false
		}
	}
	return true
}

func isOf(c api.Container, image string) bool {
	return c.Image == image || strings.TrimSuffix(c.Image, ":latest") == image ||
		strings.HasPrefix(string(c.ImageDigest), image) || strings.HasPrefix(strings.TrimPrefix(string(c.ImageDigest), "sha256:"), image)
}

func hasMount(c api.Container, v string) bool {
	return slices.ContainsFunc(c.Spec.Mounts, func(m api.Mount) bool { return string(m.Volume) == v || m.HostPath == v || m.Target == v })
}

func hasLabel(c api.Container, v string) bool {
	key, value, withValue := strings.Cut(v, "=")
	got, ok := c.Labels[key]
	return ok && (!withValue || got == value)
}
