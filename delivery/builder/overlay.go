package builder

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/moby/sys/mountinfo"
)

// unmounted returns the overlay that a bind's source is the mount point of, and the bind itself otherwise. BuildKit mounts
// a writable overlay on the host and hands out binds of that, so that several steps can share it. The runner needs the
// layers: only a file system that holds files can map their ids, an overlay cannot.
func unmounted(m mount.Mount) (mount.Mount, error) {
	if m.Type != "bind" && m.Type != "rbind" {
		return m, nil
	}
	found, err := mountinfo.GetMounts(mountinfo.SingleEntryFilter(m.Source))
	if err != nil {
		return m, fmt.Errorf("look what is mounted on %s: %w", m.Source, err)
	}
	if len(found) == 0 || found[0].FSType != "overlay" {
		return m, nil
	}
	return mount.Mount{Type: "overlay", Source: "overlay", Options: absoluteLayers(strings.Split(found[0].VFSOptions, ","))}, nil
}

// absoluteLayers undoes what containerd does to options that would not fit into a page: it mounts from within the folder
// of all layers, so that the lower ones' paths can be relative to it. The upper one, LAYERS/ID/fs, tells which folder.
func absoluteLayers(options []string) []string {
	var folder string
	for _, o := range options {
		if upper, ok := strings.CutPrefix(o, "upperdir="); ok {
			folder = filepath.Dir(filepath.Dir(upper))
		}
	}
	out := slices.Clone(options)
	for i, o := range out {
		list, ok := strings.CutPrefix(o, "lowerdir=")
		if !ok {
			continue
		}
		paths := strings.Split(list, ":")
		for n, p := range paths {
			if !filepath.IsAbs(p) {
				paths[n] = filepath.Join(folder, p)
			}
		}
		out[i] = "lowerdir=" + strings.Join(paths, ":")
	}
	return out
}
