package sandbox

import "github.com/opencontainers/runtime-spec/specs-go"

// idmaps are a container's user and group ids on the host; without a user namespace they are the same.
type idmaps struct {
	uids, gids []specs.LinuxIDMapping
}

func (m idmaps) any() bool             { return len(m.uids) > 0 }
func (m idmaps) hostUID(id uint32) int { return mapID(m.uids, id) }
func (m idmaps) hostGID(id uint32) int { return mapID(m.gids, id) }

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
