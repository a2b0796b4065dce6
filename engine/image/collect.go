package image

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/errdefs"

	"naru/naru"
)

// pinPrefix begins the ids of the leases that are pins.
const pinPrefix = "pin-"

// Pin keeps the images, named or not, until another Pin of the same owner leaves them out. An image that is gone already,
// whoever removed it, is passed over.
func (s *Store) Pin(ctx context.Context, owner string, images ...naru.Digest) error {
	ctx = inNamespace(ctx)
	lease := leases.Lease{ID: pinPrefix + owner}
	if len(images) == 0 {
		if err := s.leases.Delete(ctx, lease); err != nil && !errdefs.IsNotFound(err) {
			return fmt.Errorf("unpin images of %s: %w", owner, err)
		}
		return nil
	}
	if _, err := s.leases.Create(ctx, leases.WithID(lease.ID)); err != nil && !errdefs.IsAlreadyExists(err) {
		return fmt.Errorf("pin images for %s: %w", owner, err)
	}
	for _, d := range images {
		_, err := s.descriptor(ctx, d)
		if errdefs.IsNotFound(err) {
			continue
		}
		if err == nil {
			err = s.leases.AddResource(ctx, lease, leases.Resource{ID: string(d), Type: "content"})
		}
		if err != nil {
			return fmt.Errorf("pin image %s for %s: %w", d.Short(), owner, err)
		}
	}
	return s.unpinOthers(ctx, lease, images)
}

func (s *Store) unpinOthers(ctx context.Context, lease leases.Lease, images []naru.Digest) error {
	have, err := s.leases.ListResources(ctx, lease)
	if err != nil {
		return fmt.Errorf("list what %s keeps: %w", lease.ID, err)
	}
	for _, r := range have {
		if slices.Contains(images, naru.Digest(r.ID)) {
			continue
		}
		if err := s.leases.DeleteResource(ctx, lease, r); err != nil {
			return fmt.Errorf("unpin image %s of %s: %w", r.ID, lease.ID, err)
		}
	}
	return nil
}

// Collect removes every blob and snapshot that no name, pin, root file system, build or build cache needs, and returns
// when the space is free. Writers wait while it looks, so callers let some removals gather first.
func (s *Store) Collect(ctx context.Context) error {
	if err := errors.Join(s.removeAside(), s.dropBases(inNamespace(ctx))); err != nil {
		return fmt.Errorf("collect root file systems: %w", err)
	}
	if _, err := s.db.GarbageCollect(ctx); err != nil {
		return fmt.Errorf("collect images: %w", err)
	}
	return nil
}

// collectDelay lets removals gather: a collection looks at everything, and writers wait for it.
const collectDelay = 2 * time.Second

// Run collects, some time after anything was removed, until ctx ends; first what a process before this one left. A
// collection that fails, on a full disk say, is tried again.
func (s *Store) Run(ctx context.Context, log *slog.Logger) error {
	s.noteRemoval(true)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.removed:
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(collectDelay):
		}
		if err := s.Collect(ctx); err != nil && ctx.Err() == nil {
			log.Error("free what nobody needs of the images", "err", err)
			s.noteRemoval(true)
		}
	}
}

// noteRemoval is told of each change of the metadata, and whether something was removed.
func (s *Store) noteRemoval(some bool) {
	if !some {
		return
	}
	select {
	case s.removed <- struct{}{}:
	default:
	}
}
