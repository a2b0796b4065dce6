package sandbox

import (
	"bytes"
	"fmt"
	"os"
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// idmaps are a container's user and group ids on the host; without a user namespace they are the same. Where naru itself
// runs in a user namespace, that one is meant by the host.
type idmaps struct {
	userns     bool
	uids, gids []specs.LinuxIDMapping
}

// idmapsOf are those of a spec. Of a user namespace that is joined only the kernel knows them, see read.
func idmapsOf(l *specs.Linux) idmaps {
	if !hasNamespace(l, specs.UserNamespace) || slices.Contains(l.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace}) {
		return idmaps{len(l.UIDMappings) > 0, l.UIDMappings, l.GIDMappings}
	}
	return idmaps{userns: true}
}

// read asks the kernel for the maps of the user namespace that a process is in.
func (m *idmaps) read(pid int) (err error) {
	if m.uids, err = readIDMap(procPath(pid, "uid_map")); err != nil {
		return err
	}
	m.gids, err = readIDMap(procPath(pid, "gid_map"))
	return err
}

func readIDMap(path string) ([]specs.LinuxIDMapping, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var maps []specs.LinuxIDMapping
	for line := range bytes.Lines(b) {
		var m specs.LinuxIDMapping
		if _, err := fmt.Sscan(string(line), &m.ContainerID, &m.HostID, &m.Size); err != nil {
			return nil, fmt.Errorf("read %s: %w", path, err)
		}
		maps = append(maps, m)
	}
	return maps, nil
}

// maxMaps is the kernel's UID_GID_MAP_MAX_EXTENTS.
const maxMaps = 340

// checkMaps refuses maps that the kernel would: empty ones, too many, and those that give an id two meanings.
func checkMaps(field string, maps []specs.LinuxIDMapping) error {
	if len(maps) > maxMaps {
		return invalid(field, fmt.Sprintf("has %d entries, the kernel takes %d", len(maps), maxMaps))
	}
	apart := func(a, b, sizeA, sizeB uint32) bool {
		return uint64(a)+uint64(sizeA) <= uint64(b) || uint64(b)+uint64(sizeB) <= uint64(a)
	}
	for i, m := range maps {
		const last = 1<<32 - 1 // is no id
		if m.Size == 0 || uint64(m.ContainerID)+uint64(m.Size) > last || uint64(m.HostID)+uint64(m.Size) > last {
			return invalid(field, fmt.Sprintf("maps %d ids from %d to %d", m.Size, m.ContainerID, m.HostID))
		}
		for _, o := range maps[:i] {
			if !apart(m.ContainerID, o.ContainerID, m.Size, o.Size) || !apart(m.HostID, o.HostID, m.Size, o.Size) {
				return invalid(field, fmt.Sprintf("maps an id twice: %d from %d to %d", m.Size, m.ContainerID, m.HostID))
			}
		}
	}
	return nil
}

func (m idmaps) any() bool             { return m.userns }
func (m idmaps) hostUID(id uint32) int { return mapID(m.uids, id) }
func (m idmaps) hostGID(id uint32) int { return mapID(m.gids, id) }

// change says whether an id means, or may mean, another one on the host: only then files must be mapped.
func (m idmaps) change() bool {
	moved := func(l specs.LinuxIDMapping) bool { return l.ContainerID != l.HostID }
	return m.userns && len(m.uids) == 0 || slices.ContainsFunc(m.uids, moved) || slices.ContainsFunc(m.gids, moved)
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
