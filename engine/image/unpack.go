package image

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/diff"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"naru/naru"
)

// snapshotLabel on an image's config names the snapshot of its top layer, which it also keeps from being collected.
const snapshotLabel = "containerd.io/gc.ref.snapshot." + SnapshotterName

// layerSnapshotPrefix begins the snapshot names that BuildKit looks for before it extracts a layer of its own
// (snapshot.LayerSnapshotID there; a test in delivery/builder holds the two together).
const layerSnapshotPrefix = "buildkit-layer-snapshot-v1-"

// LayerSnapshot names the snapshot of the layers with these diff ids, bottom first.
func LayerSnapshot(diffIDs []digest.Digest) string {
	chain := identity.ChainID(diffIDs)
	return layerSnapshotPrefix + chain.Algorithm().String() + "-" + chain.Encoded()
}

// top returns the committed snapshot that holds all of the image's files, extracting layers that were not yet.
func (s *Store) top(ctx context.Context, m manifest) (string, error) {
	if len(m.layers) == 0 {
		return s.emptyLayer(ctx)
	}
	info, err := s.content.Info(ctx, m.config.Digest)
	if err != nil {
		return "", fmt.Errorf("find config: %w", err)
	}
	if name, ok := info.Labels[snapshotLabel]; ok {
		if _, err := s.snapshots.Stat(ctx, name); err == nil {
			return name, nil
		}
	}
	return s.unpack(ctx, m)
}

// unpack extracts the layers that have no snapshot and notes the top one on the config.
func (s *Store) unpack(ctx context.Context, m manifest) (string, error) {
	ids := m.image.RootFS.DiffIDs
	if len(ids) != len(m.layers) {
		return "", naru.Errorf(naru.InvalidArgument, "the image's manifest has %d layers and its config %d", len(m.layers), len(ids))
	}
	if len(ids) == 0 {
		return s.emptyLayer(ctx)
	}
	var top string
	err := s.leased(ctx, func(ctx context.Context) error {
		for i := range m.layers {
			name := LayerSnapshot(ids[:i+1])
			if err := s.unpackLayer(ctx, top, name, m.layers[i], ids[i]); err != nil {
				return fmt.Errorf("unpack layer %d of %d: %w", i+1, len(ids), err)
			}
			top = name
		}
		return s.noteSnapshot(ctx, m.config.Digest, top)
	})
	return top, err
}

// unpackLayer makes the snapshot name from parent and a layer, unless it is there already.
func (s *Store) unpackLayer(ctx context.Context, parent, name string, layer ocispec.Descriptor, diffID digest.Digest) error {
	if _, err := s.snapshots.Stat(ctx, name); err == nil {
		return nil
	}
	key := "unpack-" + rand.Text() // two unpacks of one layer each work on their own, and the first to commit wins
	mounts, err := s.snapshots.Prepare(ctx, key, parent)
	if err != nil {
		return fmt.Errorf("prepare: %w", err)
	}
	// With the files synced before the commit, a power cut leaves either no snapshot or a whole one.
	got, err := s.applier.Apply(ctx, layer, mounts, diff.WithSyncFs(true))
	if err == nil && got.Digest != diffID {
		err = naru.Errorf(naru.InvalidArgument, "its content is %s, its config says %s", got.Digest, diffID)
	}
	if err == nil {
		err = s.snapshots.Commit(ctx, name, key)
	}
	if err == nil {
		return nil
	}
	removed := s.snapshots.Remove(context.WithoutCancel(ctx), key)
	if errdefs.IsAlreadyExists(err) {
		return removed
	}
	return errors.Join(err, removed)
}

// noteSnapshot labels the config blob with the snapshot of the image's top layer.
func (s *Store) noteSnapshot(ctx context.Context, config digest.Digest, snapshot string) error {
	info := content.Info{Digest: config, Labels: map[string]string{snapshotLabel: snapshot}}
	if _, err := s.content.Update(ctx, info, "labels."+snapshotLabel); err != nil {
		return fmt.Errorf("note snapshot on config: %w", err)
	}
	return nil
}

// Adopt tells that snapshot, made by BuildKit, already holds the files of the image with this manifest, so that
// Prepare does not extract its layers again. The snapshot must be committed.
func (s *Store) Adopt(ctx context.Context, d naru.Digest, snapshot string) error {
	ctx = inNamespace(ctx)
	m, err := s.readDigest(ctx, d)
	if err != nil {
		return fmt.Errorf("adopt snapshot: %w", err)
	}
	info, err := s.content.Info(ctx, m.config.Digest)
	if err != nil {
		return fmt.Errorf("adopt snapshot: %w", err)
	}
	if info.Labels[snapshotLabel] == snapshot {
		return nil
	}
	if err := s.sync(); err != nil {
		return fmt.Errorf("adopt snapshot: %w", err)
	}
	return s.noteSnapshot(ctx, m.config.Digest, snapshot)
}

// sync writes the files of all snapshots to the disk. The databases sync their records themselves, and a record must not
// outlive a power cut that its files did not.
func (s *Store) sync() error {
	f, err := os.Open(s.dir)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Syncfs(int(f.Fd())); err != nil {
		return fmt.Errorf("sync %s: %w", s.dir, err)
	}
	return nil
}

// emptyLayer is the snapshot under images without layers: an overlay needs something beneath.
func (s *Store) emptyLayer(ctx context.Context) (string, error) {
	const name = "empty"
	if _, err := s.snapshots.Stat(ctx, name); err == nil {
		return name, nil
	}
	key := "unpack-" + rand.Text()
	if _, err := s.snapshots.Prepare(ctx, key, "", snapshots.WithLabels(permanent())); err != nil {
		return "", fmt.Errorf("prepare empty layer: %w", err)
	}
	err := s.snapshots.Commit(ctx, name, key, snapshots.WithLabels(permanent()))
	if err == nil {
		return name, nil
	}
	removed := s.snapshots.Remove(context.WithoutCancel(ctx), key)
	if errdefs.IsAlreadyExists(err) {
		return name, removed
	}
	return "", errors.Join(fmt.Errorf("commit empty layer: %w", err), removed)
}
