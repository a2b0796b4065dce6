package network

import (
	"context"
	"slices"
)

// Endpoints returns the IDs of the containers that have a veth pair in the kernel now, whoever attached them.
func (m *Manager) Endpoints(ctx context.Context) ([]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	places, err := m.present()
	if err != nil {
		return nil, err
	}
	ids := make([]string, len(places))
	for i, p := range places {
		ids[i] = p.id
	}
	slices.Sort(ids)
	return slices.Compact(ids), nil
}

// present are the places that have a veth pair in the kernel now.
func (m *Manager) present() ([]place, error) {
	veths, err := linksOf("veth", vethPrefix(m.tag))
	if err != nil {
		return nil, err
	}
	var places []place
	for _, link := range veths {
		if _, p, ok := parseAlias(link.Attrs().Alias); ok {
			places = append(places, p)
		}
	}
	return places, nil
}
