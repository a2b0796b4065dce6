package image

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"

	"naru/engine/quota"
	"naru/naru"
)

// Rootfs is the parts of a writable root file system, for an overlay mount.
type Rootfs struct {
	Lower []string // the image's layers, top first; at least one
	Upper string   // what the container writes
	Work  string   // overlay's own, on the file system of Upper
}

// rootfsPrefix begins the snapshot keys of root file systems, so that they never meet BuildKit's.
const rootfsPrefix = "rootfs-"

// permanent are the labels that make a snapshot stay although nothing refers to it.
func permanent() map[string]string {
	return map[string]string{"containerd.io/gc.root": time.Now().UTC().Format(time.RFC3339)}
}

// permanentWith are those, and one that makes the image stay that the snapshot is made from, named or not.
func permanentWith(image naru.Digest) map[string]string {
	labels := permanent()
	labels["containerd.io/gc.ref.content.image"] = string(image)
	return labels
}

// Prepare makes a writable root file system named key from the image d, or returns the one that key already names. It
// stays until Release, and so does what it needs of the image.
func (s *Store) Prepare(ctx context.Context, key string, d naru.Digest) (Rootfs, error) {
	ctx = inNamespace(ctx)
	m, err := s.readDigest(ctx, d)
	if errdefs.IsNotFound(err) {
		return Rootfs{}, notFound(string(d))
	}
	if err != nil {
		return Rootfs{}, fmt.Errorf("prepare root file system: %w", err)
	}
	top, err := s.top(ctx, m)
	if err != nil {
		return Rootfs{}, fmt.Errorf("prepare root file system from image %s: %w", d.Short(), err)
	}
	// Reading first: a container asks at each start and exec, and trying to make what is there waits for the disk.
	mounts, err := s.existing(ctx, key, top)
	if errdefs.IsNotFound(err) {
		mounts, err = s.snapshots.Prepare(ctx, rootfsPrefix+key, top, snapshots.WithLabels(permanentWith(d)))
	}
	if err != nil {
		return Rootfs{}, fmt.Errorf("prepare root file system %s: %w", key, err)
	}
	return ParseOverlay(mounts)
}

// existing returns the mounts of the root file system key, which must stand on top.
func (s *Store) existing(ctx context.Context, key, top string) ([]mount.Mount, error) {
	info, err := s.snapshots.Stat(ctx, rootfsPrefix+key)
	if err != nil {
		return nil, err
	}
	if info.Parent != top {
		return nil, naru.Errorf(naru.Conflict, "it exists already, made from another image")
	}
	return s.snapshots.Mounts(ctx, rootfsPrefix+key)
}

// Release removes the root file system key; one that is gone already is fine. Its space comes back in Collect.
func (s *Store) Release(ctx context.Context, key string) error {
	ctx = inNamespace(ctx)
	err := s.clearLimit(ctx, key)
	if err == nil {
		err = s.snapshots.Remove(ctx, rootfsPrefix+key)
	}
	if err != nil && !errdefs.IsNotFound(err) {
		return fmt.Errorf("release root file system %s: %w", key, err)
	}
	return nil
}

// clearLimit gives up the size limit that the root file system may have been given: its folders stay until Collect, and
// nobody would know whose the limit was.
func (s *Store) clearLimit(ctx context.Context, key string) error {
	mounts, err := s.snapshots.Mounts(ctx, rootfsPrefix+key)
	if err != nil {
		return err
	}
	root, err := ParseOverlay(mounts)
	if err != nil {
		return err
	}
	return quota.Clear(root.Upper)
}

// Snapshots returns the keys of all root file systems that were prepared and not released, sorted.
func (s *Store) Snapshots(ctx context.Context) ([]string, error) {
	var keys []string
	err := s.snapshots.Walk(inNamespace(ctx), func(_ context.Context, info snapshots.Info) error {
		if key, ok := strings.CutPrefix(info.Name, rootfsPrefix); ok {
			keys = append(keys, key)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list root file systems: %w", err)
	}
	slices.Sort(keys)
	return keys, nil
}

// ParseOverlay reads a snapshotter's mounts of a writable snapshot as the parts of an overlay. A snapshot without a
// parent is a plain folder to bind, which has an Upper and no Lower.

func ParseOverlay(mounts []mount.Mount) (Rootfs, error) {
	if len(mounts) != 1 {
		return Rootfs{}, fmt.Errorf("read overlay: %d mounts, want one", len(mounts))
	}
	m := mounts[0]
	switch m.Type {
	case "bind":
		return Rootfs{Upper: m.Source}, nil
	case "overlay":
	default:
		return Rootfs{}, fmt.Errorf("read overlay: mount of type %q", m.Type)
	}
	var fs Rootfs
	for _, o := range m.Options {
		if v, ok := strings.CutPrefix(o, "lowerdir="); ok {
			fs.Lower = strings.Split(v, ":")
		}
		if v, ok := strings.CutPrefix(o, "upperdir="); ok {
			fs.Upper = v
		}
		if v, ok := strings.CutPrefix(o, "workdir="); ok {
			fs.Work = v
		}
	}
	if len(fs.Lower) == 0 {
		return Rootfs{}, fmt.Errorf("read overlay: no lower layers in %q", m.Options)
	}
	return fs, nil
}
