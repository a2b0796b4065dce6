package image

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"

	"naru/naru"
)

// base is what all root file systems of one image stand on, read once: a view of its layers, which keeps them and the
// image, named or not, until the last of the root file systems is released and Collect comes by.
type base struct {
	lower []string // top first
	image Image    // without names
}

// basePrefix begins the snapshot keys of views, so that they never meet BuildKit's.
const basePrefix = "base-"

// roots is what memory knows of root file systems and the bases they stand on.
type roots struct {
	mu    sync.Mutex
	image map[string]naru.Digest // of each root file system, by key
	bases map[naru.Digest]base
}

// claim notes that the root file system key stands on the image, before either is looked at: so Collect lets the image
// be. fresh says that nobody had claimed it before.
func (r *roots) claim(key string, d naru.Digest) (fresh bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	have, ok := r.image[key]
	if ok && have != d {
		return false, naru.Errorf(naru.Conflict, "it exists already, made from another image")
	}
	r.image[key] = d
	return !ok, nil
}

func (r *roots) release(key string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.image, key)
}

func (r *roots) known(d naru.Digest) (base, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	b, ok := r.bases[d]
	return b, ok
}

// base returns the base of an image that is claimed.
func (s *Store) base(ctx context.Context, d naru.Digest) (base, error) {
	if b, ok := s.roots.known(d); ok {
		return b, nil
	}
	b, err := s.findBase(ctx, d)
	if errdefs.IsNotFound(err) {
		return base{}, notFound(string(d))
	}
	if err != nil {
		return base{}, fmt.Errorf("read image %s: %w", d.Short(), err)
	}
	s.roots.mu.Lock()
	defer s.roots.mu.Unlock()
	s.roots.bases[d] = b
	return b, nil
}

func (s *Store) findBase(ctx context.Context, d naru.Digest) (base, error) {
	m, err := s.readDigest(ctx, d)
	if err != nil {
		return base{}, err
	}
	top, err := s.top(ctx, m)
	if err != nil {
		return base{}, err
	}
	labels := permanent()
	labels["containerd.io/gc.ref.content.image"] = string(d)
	mounts, err := s.snapshots.View(ctx, basePrefix+string(d), top, snapshots.WithLabels(labels))
	if errdefs.IsAlreadyExists(err) {
		mounts, err = s.snapshots.Mounts(ctx, basePrefix+string(d))
	}
	if err != nil {
		return base{}, err
	}
	layers, err := ParseOverlay(mounts)
	if err != nil {
		return base{}, err
	}
	if layers.Upper != "" { // a single layer is no overlay
		layers.Lower = []string{layers.Upper}
	}
	return base{lower: layers.Lower, image: *m.describe(time.Time{})}, nil
}

// permanent are the labels that make a snapshot stay although nothing refers to it.
func permanent() map[string]string {
	return map[string]string{"containerd.io/gc.root": time.Now().UTC().Format(time.RFC3339)}
}

// dropBases removes the views on which no root file system stands any more. Nobody may claim one meanwhile.
func (s *Store) dropBases(ctx context.Context) error {
	s.roots.mu.Lock()
	defer s.roots.mu.Unlock()
	used := map[naru.Digest]bool{}
	for _, d := range s.roots.image {
		used[d] = true
	}
	var idle []naru.Digest
	err := s.snapshots.Walk(ctx, func(_ context.Context, info snapshots.Info) error {
		if d, ok := strings.CutPrefix(info.Name, basePrefix); ok && !used[naru.Digest(d)] {
			idle = append(idle, naru.Digest(d))
		}
		return nil
	})
	for _, d := range idle {
		delete(s.roots.bases, d)
		err = errors.Join(err, s.snapshots.Remove(ctx, basePrefix+string(d)))
	}
	return err
}
