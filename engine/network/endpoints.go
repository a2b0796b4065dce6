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
	veths, err := linksOf("veth", vethPrefix(m.tag))
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, link := range veths {
		if _, id, ok := parseAlias(link.Attrs().Alias); ok {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids, nil
}
