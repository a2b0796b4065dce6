package builder

import (
	"context"
	"reflect"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	buildkit "github.com/moby/buildkit/executor"
	"github.com/moby/buildkit/snapshot"

	"naru/engine/image"
)

// snapshotter is BuildKit's snapshotter without the option that it adds to every overlay mount: redirect_dir=off, which
// the kernel refuses beside the image store's own option, and which that one implies.
type snapshotter struct{ snapshot.Snapshotter }

func (s snapshotter) Mounts(ctx context.Context, key string) (snapshot.Mountable, error) {
	m, err := s.Snapshotter.Mounts(ctx, key)
	if err != nil {
		return nil, err
	}
	return withoutRedirect{m}, nil
}

func (s snapshotter) View(ctx context.Context, key, parent string, opts ...snapshots.Opt) (snapshot.Mountable, error) {
	m, err := s.Snapshotter.View(ctx, key, parent, opts...)
	if err != nil {
		return nil, err
	}
	return withoutRedirect{m}, nil
}

type withoutRedirect struct{ snapshot.Mountable }

func (m withoutRedirect) Mount() ([]mount.Mount, func() error, error) {
	mounts, release, err := m.Mountable.Mount()
	for i := range mounts {
		if slices.Contains(mounts[i].Options, image.MountOption) {
			mounts[i].Options = slices.DeleteFunc(slices.Clone(mounts[i].Options), func(o string) bool {
				return strings.HasPrefix(o, "redirect_dir=")
			})
		}
	}
	return mounts, release, err
}

// unshared returns the mountable whose Mount tells the parts of an overlay. BuildKit's wrapper mounts the overlay on the
// host and tells only where, so that several steps could share it; but a root file system belongs to one step, whose
// runner mounts it itself, in a user namespace. The wrapper's type is private and its field is not, hence reflection;
// TestStepsGetLayers breaks when a new BuildKit does it another way.
func unshared(ref buildkit.MountableRef) buildkit.MountableRef {
	v := reflect.Indirect(reflect.ValueOf(ref))
	if v.Kind() != reflect.Struct || v.Type().Name() != "sharableMountable" {
		return ref
	}
	f := v.FieldByName("Mountable")
	if !f.IsValid() || !f.CanInterface() {
		return ref
	}
	if inner, ok := f.Interface().(buildkit.MountableRef); ok {
		return inner
	}
	return ref
}
