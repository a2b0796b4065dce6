package image

import (
	"context"
	"fmt"

	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/errdefs"

	"naru/naru"
)

// pinPrefix begins the ids of the leases that are pins.
const pinPrefix = "pin-"

// Pin keeps the image d, named or not, until Unpin of the same owner. An owner may pin several images.
func (s *Store) Pin(ctx context.Context, owner string, d naru.Digest) error {
	ctx = inNamespace(ctx)
	if _, err := s.descriptor(ctx, d); errdefs.IsNotFound(err) {
		return notFound(string(d))
	}
	_, err := s.leases.Create(ctx, leases.WithID(pinPrefix+owner))
	if err != nil && !errdefs.IsAlreadyExists(err) {
		return fmt.Errorf("pin image %s for %s: %w", d.Short(), owner, err)
	}
	err = s.leases.AddResource(ctx, leases.Lease{ID: pinPrefix + owner}, leases.Resource{ID: string(d), Type: "content"})
	if err != nil {
		return fmt.Errorf("pin image %s for %s: %w", d.Short(), owner, err)
	}
	return nil
}

// Unpin ends all pins of the owner; none is fine.
func (s *Store) Unpin(ctx context.Context, owner string) error {
	err := s.leases.Delete(inNamespace(ctx), leases.Lease{ID: pinPrefix + owner})
	if err != nil && !errdefs.IsNotFound(err) {
		return fmt.Errorf("unpin images of %s: %w", owner, err)
	}
	return nil
}

// Collect removes every blob and snapshot that no name, pin, root file system, build or build cache needs, and returns
// when the space is free. Writers wait while it looks, so callers let some removals gather first.
func (s *Store) Collect(ctx context.Context) error {
	if _, err := s.db.GarbageCollect(ctx); err != nil {
		return fmt.Errorf("collect images: %w", err)
	}
	return nil
}
