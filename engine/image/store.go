// Package image keeps the machine's container images and the file systems made from them. It receives archives, registry
// names and build results; it owns one content store, one overlay snapshotter and the metadata that ties them together;
// it hands on images by digest and root file systems ready to be mounted.
//
// BuildKit works on the same stores (see Content, Snapshotter, Leases, Images), so that nothing is stored or extracted
// twice. What nobody names, pins or has mounted goes away in Collect.
package image

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/diff"
	"github.com/containerd/containerd/v2/core/diff/apply"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/core/metadata"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/containerd/v2/plugins/content/local"
	"github.com/containerd/containerd/v2/plugins/snapshots/overlay"
	"github.com/containerd/errdefs"
	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"naru/naru"
)

// Namespace is the containerd namespace that everything lives in.
const Namespace = "naru"

// SnapshotterName is the name that labels and leases call the snapshotter by.
const SnapshotterName = "overlayfs"

// lockTimeout is how long Open waits for another process to let go of the stores.
const lockTimeout = 2 * time.Second

// Store is the open image store. One process at a time has it open.
type Store struct {
	dir       string
	bolt      *bbolt.DB
	db        *metadata.DB
	content   content.Store
	snapshots snapshots.Snapshotter
	leases    leases.Manager
	images    images.Store
	applier   diff.Applier
	hosts     docker.RegistryHosts
	roots     roots
	removed   chan struct{} // a hint that there is something to collect
}

// Open opens the store in dir, making it when it is new, and clears what imports and pulls of a dead process left
// half done. The caller closes it.
func Open(ctx context.Context, dir string) (*Store, error) {
	if strings.ContainsAny(dir, ":,\\") {
		return nil, naru.Errorf(naru.InvalidArgument, "open image store %s: the path must not contain ':', ',' or '\\', which overlay mounts cannot express", dir)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make image store: %w", err)
	}
	db, err := openBolt(filepath.Join(dir, "metadata.db"))
	if err != nil {
		return nil, err
	}
	s, err := build(ctx, dir, db)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open image store %s: %w", dir, err), db.Close())
	}
	if err := s.clearHalfDone(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("tidy image store %s: %w", dir, err), s.Close())
	}
	return s, nil
}

func openBolt(path string) (*bbolt.DB, error) {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{
		Timeout: lockTimeout, FreelistType: bbolt.FreelistMapType, NoFreelistSync: true,
	})
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil, naru.Errorf(naru.FailedPrecondition, "open %s: another process has it open; is a second daemon running?", path)
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	return db, nil
}

func build(ctx context.Context, dir string, bolt *bbolt.DB) (*Store, error) {
	if err := os.MkdirAll(filepath.Join(dir, "content", "blobs"), 0o755); err != nil { // or a first collection fails on it
		return nil, fmt.Errorf("make content folder: %w", err)
	}
	blobs, err := local.NewStore(filepath.Join(dir, "content"))
	if err != nil {
		return nil, fmt.Errorf("open content: %w", err)
	}
	// Removal is asynchronous so that deleting a big tree happens in Collect, outside of database transactions.
	layers, err := overlay.NewSnapshotter(filepath.Join(dir, "snapshots"), overlay.AsynchronousRemove, overlay.WithMountOptions([]string{MountOption}))
	if err != nil {
		return nil, fmt.Errorf("open snapshots: %w", err)
	}
	if err := removeHalfMade(ctx, layers, filepath.Join(dir, "snapshots", "snapshots")); err != nil {
		return nil, errors.Join(fmt.Errorf("remove half-made snapshots: %w", err), layers.Close())
	}
	db := metadata.NewDB(bolt, blobs, map[string]snapshots.Snapshotter{SnapshotterName: layers})
	if err := db.Init(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("prepare metadata: %w", err), layers.Close())
	}
	s := &Store{
		dir: dir, bolt: bolt, db: db,
		content:   db.ContentStore(),
		snapshots: db.Snapshotter(SnapshotterName),
		leases:    metadata.NewLeaseManager(db),
		images:    metadata.NewImageStore(db),
		hosts:     registryHosts(),
		roots:     roots{image: map[string]naru.Digest{}, bases: map[naru.Digest]base{}},
		removed:   make(chan struct{}, 1),
	}
	if err := s.findRoots(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("find root file systems: %w", err), layers.Close())
	}
	db.RegisterMutationCallback(s.noteRemoval)
	s.applier = markingApplier{apply.NewFileSystemApplier(s.content)}
	return s, nil
}

// removeHalfMade removes the folders of snapshots that the database does not know. A process that was killed leaves such
// a folder, and the database gives its number out again.
func removeHalfMade(ctx context.Context, layers snapshots.Snapshotter, dir string) error {
	err := layers.(snapshots.Cleaner).Cleanup(ctx)
	if !errdefs.IsNotFound(err) {
		return err
	}
	entries, err := os.ReadDir(dir) // the database does not know any
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// Close closes the store; nothing may use it after.
func (s *Store) Close() error {
	return errors.Join(s.snapshots.Close(), s.bolt.Close())
}

// Dir is the folder that everything lies in.
func (s *Store) Dir() string { return s.dir }

// Content is the content store; its callers say the namespace in their ctx.
func (s *Store) Content() content.Store { return s.content }

// Snapshotter is the snapshotter; its callers say the namespace in their ctx.
func (s *Store) Snapshotter() snapshots.Snapshotter { return s.snapshots }

// Leases manages leases; its callers say the namespace in their ctx.
func (s *Store) Leases() leases.Manager { return s.leases }

// Images is the table of names; it puts the namespace into the ctx by itself, since BuildKit calls it without.
func (s *Store) Images() images.Store { return namedImages{s.images} }

// Metadata is the database that garbage collection works on.
func (s *Store) Metadata() *metadata.DB { return s.db }

func inNamespace(ctx context.Context) context.Context {
	return namespaces.WithNamespace(ctx, Namespace)
}

// temporaryLabel marks a lease that ends with the operation that took it.
const temporaryLabel = "naru.temporary"

// leased runs fn under a lease, so that no collection takes what fn has stored before fn could name it.
func (s *Store) leased(ctx context.Context, fn func(context.Context) error) (err error) {
	l, err := s.leases.Create(ctx, leases.WithRandomID(), leases.WithLabel(temporaryLabel, "true"))
	if err != nil {
		return fmt.Errorf("take lease: %w", err)
	}
	defer func() { err = errors.Join(err, s.leases.Delete(context.WithoutCancel(ctx), l)) }()
	return fn(leases.WithLease(ctx, l.ID))
}

// clearHalfDone removes the temporary leases and partial blobs of a process that died. Partial blobs must not stay: the
// importer would take one for the beginning of another file with the same name.
func (s *Store) clearHalfDone(ctx context.Context) error {
	ctx = inNamespace(ctx)
	stale, err := s.leases.List(ctx, `labels."`+temporaryLabel+`"`)
	if err != nil {
		return fmt.Errorf("list leases: %w", err)
	}
	for _, l := range stale {
		if err := s.leases.Delete(ctx, l); err != nil {
			return fmt.Errorf("end lease %s: %w", l.ID, err)
		}
	}
	partial, err := s.content.ListStatuses(ctx)
	if err != nil {
		return fmt.Errorf("list partial blobs: %w", err)
	}
	for _, p := range partial {
		if err := s.content.Abort(ctx, p.Ref); err != nil {
			return fmt.Errorf("drop partial blob %s: %w", p.Ref, err)
		}
	}
	return nil
}
