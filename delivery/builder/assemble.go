package builder

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/containerd/containerd/v2/plugins/diff/walking"
	"github.com/containerd/platforms"
	"github.com/moby/buildkit/cache/metadata"
	"github.com/moby/buildkit/cmd/buildkitd/config"
	"github.com/moby/buildkit/control"
	"github.com/moby/buildkit/frontend"
	dockerfile "github.com/moby/buildkit/frontend/dockerfile/builder"
	"github.com/moby/buildkit/frontend/gateway/forwarder"
	ctdsnapshot "github.com/moby/buildkit/snapshot/containerd"
	"github.com/moby/buildkit/solver"
	"github.com/moby/buildkit/solver/bboltcachestorage"
	"github.com/moby/buildkit/util/db/boltutil"
	"github.com/moby/buildkit/util/leaseutil"
	buildkit "github.com/moby/buildkit/worker"
	"github.com/moby/buildkit/worker/base"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"go.etcd.io/bbolt"

	"naru/engine/image"
)

// assemble puts BuildKit together: one worker on our stores, the Dockerfile frontend called in-process, and the
// controller that solves. The databases opened here are BuildKit's alone; that no second daemon has them open is
// already sure, since it would have failed on the image store's lock.
func (b *Builder) assemble(ctx context.Context) error {
	w, err := b.newWorker(ctx)
	if err != nil {
		return fmt.Errorf("make worker: %w", err)
	}
	b.worker = w
	workers := &buildkit.Controller{}
	if err := workers.Add(w); err != nil {
		return fmt.Errorf("add worker: %w", err)
	}
	cacheStore, err := bboltcachestorage.NewStore(filepath.Join(b.cfg.Dir, "cache.db"))
	if err != nil {
		return fmt.Errorf("open cache records: %w", err)
	}
	history, err := boltutil.SafeOpen(filepath.Join(b.cfg.Dir, "history.db"), 0o600, &bbolt.Options{FreelistType: bbolt.FreelistMapType, NoFreelistSync: true})
	if err != nil {
		return fmt.Errorf("open history: %w", err)
	}
	none := int64(0) // history would keep every build's blobs alive; table builds is our history
	b.control, err = control.NewController(control.Opt{
		SessionManager:   b.sessions,
		WorkerController: workers,
		Frontends:        map[string]frontend.Frontend{"dockerfile.v0": forwarder.NewGatewayForwarder(workers.Infos(), dockerfile.Build)},
		CacheManager:     solver.NewCacheManager(ctx, "local", cacheStore, buildkit.NewCacheResultStorage(workers)),
		HistoryDB:        history,
		CacheStore:       cacheStore,
		LeaseManager:     w.LeaseManager(),
		ContentStore:     w.ContentStore(),
		HistoryConfig:    &config.HistoryConfig{MaxEntries: &none},
		GarbageCollect:   w.GarbageCollect,
		GracefulStop:     b.stop,
	})
	if err != nil {
		return fmt.Errorf("make controller: %w", err)
	}
	return nil
}

func (b *Builder) newWorker(ctx context.Context) (*worker, error) {
	records, err := metadata.NewStore(filepath.Join(b.cfg.Dir, "metadata_v2.db"))
	if err != nil {
		return nil, fmt.Errorf("open records: %w", err)
	}
	images := b.cfg.Images
	blobs := ctdsnapshot.NewContentStore(images.Content(), image.Namespace)
	w, err := base.NewWorker(ctx, base.WorkerOpt{
		ID:             "naru",
		Root:           b.cfg.Dir,
		Platforms:      []ocispec.Platform{platforms.Normalize(platforms.DefaultSpec())},
		Executor:       &executor{steps: b.cfg.Steps, mounts: filepath.Join(b.cfg.Dir, "mounts")},
		Snapshotter:    snapshotter{ctdsnapshot.NewSnapshotter(image.SnapshotterName, images.Snapshotter(), image.Namespace, nil)},
		ContentStore:   blobs,
		Applier:        images.Applier(),
		Differ:         walking.NewWalkingDiff(blobs),
		ImageStore:     images.Images(),
		RegistryHosts:  images.RegistryHosts(),
		LeaseManager:   leaseutil.WithNamespace(images.Leases(), image.Namespace),
		GarbageCollect: images.Metadata().GarbageCollect,
		MetadataStore:  records,
		MountPoolRoot:  filepath.Join(b.cfg.Dir, "cachemounts"),
	})
	if err != nil {
		return nil, err
	}
	return &worker{Worker: w, images: images}, nil
}
