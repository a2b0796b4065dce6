package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"naru/api"
)

// listed is a container as the template of container ls sees it: with the fields that docker's have, and naru's own.
type listed struct {
	api.ContainerSummary
	now   time.Time
	whole bool
}

// ID is short, unless whole ones were asked for.
func (l listed) ID() string { return idText(l.ContainerSummary.ID, l.whole) }

// Names is its name: it has one.
func (l listed) Names() string { return l.Name }

// Status says since when it is as it is.
func (l listed) Status() string { return containerStateCell(l.ContainerSummary, l.now).text }

// Ports are those of the host.
func (l listed) Ports() string { return portsText(l.Published) }

// RunningFor says how long ago it was made.
func (l listed) RunningFor() string { return ago(l.now, l.ContainerSummary.CreatedAt) }

// Labels are KEY=VALUE with commas between them.
func (l listed) Labels() string {
	var all []string
	for _, key := range slices.Sorted(maps.Keys(l.ContainerSummary.Labels)) {
		all = append(all, fmt.Sprintf("%s=%s", key, l.ContainerSummary.Labels[key]))
	}
	return strings.Join(all, ",")
}

// Label is the value of one.
func (l listed) Label(key string) string { return l.ContainerSummary.Labels[key] }

func listedAll(cs []api.ContainerSummary, whole bool) []listed {
	out := make([]listed, len(cs))
	for i, ct := range cs {
		out[i] = listed{ct, time.Now(), whole}
	}
	return out
}
