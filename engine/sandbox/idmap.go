package sandbox

import (
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// idmaps are a container's user and group ids on the host; without a user namespace they are the same. Where naru itself
// runs in a user namespace, that one is meant by the host.
type idmaps struct {
	uids, gids []specs.LinuxIDMapping
}

func (m idmaps) any() bool             { return len(m.uids) > 0 }
func (m idmaps) hostUID(id uint32) int { return mapID(m.uids, id) }
func (m idmaps) hostGID(id uint32) int { return mapID(m.gids, id) }

// change says whether an id means another one on the host: only then files must be mapped.
func (m idmaps) change() bool {
	moved := func(l specs.LinuxIDMapping) bool { return l.ContainerID != l.HostID }
	return slices.ContainsFunc(m.uids, moved) || slices.ContainsFunc(m.gids, moved)
}

// mapID maps a container's id to the host's, -1 when it has none there. No maps at all mean identity.
func mapID(maps []specs.LinuxIDMapping, id uint32) int {
	if len(maps) == 0 {
		return int(id)
	}
	for _, m := range maps {
		if id >= m.ContainerID && id-m.ContainerID < m.Size {
			return int(m.HostID + id - m.ContainerID)
		}
	}
	return -1
}
