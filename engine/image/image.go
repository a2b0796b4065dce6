package image

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	docker "github.com/moby/docker-image-spec/specs-go/v1"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"naru/naru"
)

// Image is a container image for this machine's platform.
type Image struct {
	Digest    naru.Digest         `json:"digest"` // of the manifest
	Names     []string            `json:"names"`  // short spellings, sorted
	Size      int64               `json:"size"`   // of the stored blobs: layers as they came, config and manifest
	CreatedAt time.Time           `json:"created_at"`
	Config    ocispec.ImageConfig `json:"config"`
	Health    *naru.HealthCheck   `json:"health,omitempty"` // its HEALTHCHECK, of which Config has no word
}

// manifest is an image's manifest with what it leads to, read.
type manifest struct {
	desc   ocispec.Descriptor
	config ocispec.Descriptor
	layers []ocispec.Descriptor
	image  docker.DockerOCIImage
}

func (m manifest) size() int64 {
	n := m.desc.Size + m.config.Size
	for _, l := range m.layers {
		n += l.Size
	}
	return n
}

// List returns all images, those with a name first in the order of names.
func (s *Store) List(ctx context.Context) ([]Image, error) {
	ctx = inNamespace(ctx)
	records, err := s.images.List(ctx)
	if err != nil {
		return nil, fmt.Errorf("list images: %w", err)
	}
	byDigest := map[naru.Digest]*Image{}
	for _, r := range records {
		m, err := s.readTarget(ctx, r.Target)
		if err != nil {
			return nil, fmt.Errorf("read image %s: %w", Familiar(r.Name), err)
		}
		img := byDigest[naru.Digest(m.desc.Digest)]
		if img == nil {
			img = m.describe(r.CreatedAt)
			byDigest[img.Digest] = img
		}
		img.Names = append(img.Names, Familiar(r.Name))
	}
	return sorted(byDigest), nil
}

func sorted(byDigest map[naru.Digest]*Image) []Image {
	list := make([]Image, 0, len(byDigest))
	for _, img := range byDigest {
		slices.Sort(img.Names)
		list = append(list, *img)
	}
	slices.SortFunc(list, func(a, b Image) int { return cmp.Compare(a.Names[0], b.Names[0]) })
	return list
}

func (m manifest) describe(stored time.Time) *Image {
	img := &Image{Digest: naru.Digest(m.desc.Digest), Size: m.size(), CreatedAt: stored,
		Config: m.image.Config.ImageConfig, Health: healthOf(m.image.Config.DockerOCIImageConfigExt)}
	if m.image.Created != nil {
		img.CreatedAt = *m.image.Created
	}
	return img
}

// Get finds an image by name, by digest, or by the beginning of its digest's hex digits (six or more).
func (s *Store) Get(ctx context.Context, ref string) (Image, error) {
	ctx = inNamespace(ctx)
	if d, ok := digestIn(ref); ok {
		return s.getByDigest(ctx, d)
	}
	if img, err := s.getByName(ctx, ref); !errdefs.IsNotFound(err) {
		return img, err
	}
	if !hexPrefix.MatchString(ref) {
		return Image{}, notFound(ref)
	}
	return s.getByPrefix(ctx, ref)
}

// Find is Get without the names of the image, which takes to look at every other; of one that root file systems stand
// on, memory knows the rest.
func (s *Store) Find(ctx context.Context, ref string) (Image, error) {
	ctx = inNamespace(ctx)
	d, ok := digestIn(ref)
	if full, err := Normalize(ref); err == nil && !ok {
		if r, err := s.images.Get(ctx, full); err == nil {
			desc, err := s.pick(ctx, r.Target)
			if err != nil {
				return Image{}, fmt.Errorf("read image %s: %w", ref, err)
			}
			d = naru.Digest(desc.Digest)
		}
	}
	if b, known := s.roots.known(d); known {
		return b.image, nil
	}
	return s.Get(ctx, ref)
}

func notFound(ref string) error {
	return naru.Errorf(naru.NotFound, "no image %q on this machine: pull it, import it or build it", ref)
}

// getByName returns a plain not-found error of errdefs when there is no such name.
func (s *Store) getByName(ctx context.Context, name string) (Image, error) {
	full, err := Normalize(name)
	if err != nil {
		return Image{}, err
	}
	r, err := s.images.Get(ctx, full)
	if err != nil {
		return Image{}, err
	}
	m, err := s.readTarget(ctx, r.Target)
	if err != nil {
		return Image{}, fmt.Errorf("read image %s: %w", name, err)
	}
	return s.named(ctx, m, r.CreatedAt)
}

func (s *Store) getByDigest(ctx context.Context, d naru.Digest) (Image, error) {
	m, err := s.readDigest(ctx, d)
	if errdefs.IsNotFound(err) {
		return Image{}, notFound(string(d))
	}
	if err != nil {
		return Image{}, err
	}
	return s.named(ctx, m, time.Time{})
}

func (s *Store) getByPrefix(ctx context.Context, prefix string) (Image, error) {
	list, err := s.List(ctx)
	if err != nil {
		return Image{}, err
	}
	list = slices.DeleteFunc(list, func(i Image) bool {
		return !strings.HasPrefix(string(i.Digest), "sha256:"+prefix)
	})
	switch len(list) {
	case 0:
		return Image{}, notFound(prefix)
	case 1:
		return list[0], nil
	}
	return Image{}, naru.Errorf(naru.InvalidArgument, "%q begins the digests of %d images: write more of it", prefix, len(list))
}

// named is the image of m with all its names.
func (s *Store) named(ctx context.Context, m manifest, stored time.Time) (Image, error) {
	img := m.describe(stored)
	records, err := s.images.List(ctx)
	if err != nil {
		return Image{}, fmt.Errorf("list names: %w", err)
	}
	for _, r := range records {
		if d, err := s.pick(ctx, r.Target); err == nil && d.Digest == m.desc.Digest {
			img.Names = append(img.Names, Familiar(r.Name))
		}
	}
	slices.Sort(img.Names)
	return *img, nil
}

// Tag gives the image d another name, taking the name from any image that has it.
func (s *Store) Tag(ctx context.Context, d naru.Digest, name string) error {
	ctx = inNamespace(ctx)
	full, err := Normalize(name)
	if err != nil {
		return err
	}
	m, err := s.readDigest(ctx, d)
	if errdefs.IsNotFound(err) {
		return notFound(string(d))
	}
	if err != nil {
		return err
	}
	return s.setName(ctx, full, m.desc)
}

func (s *Store) setName(ctx context.Context, full string, target ocispec.Descriptor) error {
	target = ocispec.Descriptor{MediaType: target.MediaType, Digest: target.Digest, Size: target.Size}
	_, err := s.images.Create(ctx, images.Image{Name: full, Target: target})
	if errdefs.IsAlreadyExists(err) {
		_, err = s.images.Update(ctx, images.Image{Name: full, Target: target}, "target")
	}
	if err != nil {
		return fmt.Errorf("name image %s: %w", Familiar(full), err)
	}
	return nil
}

// Remove takes away a name, or all names of the image when ref is a digest or the beginning of one. The image's
// content goes in the next Collect, unless it is pinned.
func (s *Store) Remove(ctx context.Context, ref string) error {
	ctx = inNamespace(ctx)
	img, err := s.Get(ctx, ref)
	if err != nil {
		return err
	}
	names := img.Names
	if full, err := Normalize(ref); err == nil && slices.Contains(names, Familiar(full)) {
		names = []string{Familiar(full)}
	}
	for _, n := range names {
		full, err := Normalize(n)
		if err != nil {
			return err
		}
		if err := s.images.Delete(ctx, full); err != nil && !errdefs.IsNotFound(err) {
			return fmt.Errorf("remove image %s: %w", n, err)
		}
	}
	return nil
}

// readDigest reads the manifest d, or this platform's manifest of the index d.
func (s *Store) readDigest(ctx context.Context, d naru.Digest) (manifest, error) {
	desc, err := s.descriptor(ctx, d)
	if err != nil {
		return manifest{}, err
	}
	return s.readTarget(ctx, desc)
}

// descriptor says what the stored JSON blob d is.
func (s *Store) descriptor(ctx context.Context, d naru.Digest) (ocispec.Descriptor, error) {
	info, err := s.content.Info(ctx, digest.Digest(d))
	if err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("find %s: %w", d, err)
	}
	desc := ocispec.Descriptor{Digest: info.Digest, Size: info.Size}
	b, err := s.readBlob(ctx, desc)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	if desc.MediaType = manifestType(b); desc.MediaType == "" {
		return ocispec.Descriptor{}, naru.Errorf(naru.InvalidArgument, "%s is neither an image manifest nor an index", d)
	}
	return desc, nil
}

// manifestType tells the media type of a manifest or index from its JSON, "" when it is neither.
func manifestType(b []byte) string {
	var probe struct {
		MediaType string          `json:"mediaType"`
		Manifests json.RawMessage `json:"manifests"`
		Config    json.RawMessage `json:"config"`
	}
	if json.Unmarshal(b, &probe) != nil {
		return ""
	}
	switch {
	case images.IsManifestType(probe.MediaType) || images.IsIndexType(probe.MediaType):
		return probe.MediaType
	case probe.Manifests != nil:
		return ocispec.MediaTypeImageIndex
	case probe.Config != nil:
		return ocispec.MediaTypeImageManifest
	}
	return ""
}

// pick follows an index to the manifest for this machine's platform; a manifest is its own pick.
func (s *Store) pick(ctx context.Context, desc ocispec.Descriptor) (ocispec.Descriptor, error) {
	here := platforms.Default()
	best := images.LimitManifests(images.FilterPlatforms(images.ChildrenHandler(s.content), here), here, 1)
	for range maxIndexDepth {
		if images.IsManifestType(desc.MediaType) {
			return desc, nil
		}
		if !images.IsIndexType(desc.MediaType) {
			return ocispec.Descriptor{}, naru.Errorf(naru.InvalidArgument, "%s is a %q, not an image", desc.Digest, desc.MediaType)
		}
		children, err := best(ctx, desc)
		if err != nil {
			return ocispec.Descriptor{}, fmt.Errorf("read index %s: %w", desc.Digest, err)
		}
		if len(children) == 0 {
			return ocispec.Descriptor{}, naru.Errorf(naru.InvalidArgument, "the image has no variant for %s", platforms.Format(platforms.DefaultSpec()))
		}
		desc = children[0]
	}
	return ocispec.Descriptor{}, naru.Errorf(naru.InvalidArgument, "index %s is nested too deeply", desc.Digest)
}

const maxIndexDepth = 4

func (s *Store) readTarget(ctx context.Context, target ocispec.Descriptor) (manifest, error) {
	desc, err := s.pick(ctx, target)
	if err != nil {
		return manifest{}, err
	}
	var raw ocispec.Manifest
	if err := s.readJSON(ctx, desc, &raw); err != nil {
		return manifest{}, fmt.Errorf("read manifest: %w", err)
	}
	m := manifest{desc: desc, config: raw.Config, layers: raw.Layers}
	if err := s.readJSON(ctx, raw.Config, &m.image); err != nil {
		return manifest{}, fmt.Errorf("read config: %w", err)
	}
	return m, nil
}

// maxJSON bounds what is read into memory of a manifest or config; containerd's own limit for manifests is the same.
const maxJSON = 8 << 20

func (s *Store) readBlob(ctx context.Context, desc ocispec.Descriptor) ([]byte, error) {
	if desc.Size > maxJSON {
		return nil, naru.Errorf(naru.InvalidArgument, "%s has %d bytes: too long for image metadata", desc.Digest, desc.Size)
	}
	return content.ReadBlob(ctx, s.content, desc)
}

func (s *Store) readJSON(ctx context.Context, desc ocispec.Descriptor, into any) error {
	b, err := s.readBlob(ctx, desc)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, into); err != nil {
		return naru.Errorf(naru.InvalidArgument, "%s is not what its image says: %w", desc.Digest, err)
	}
	return nil
}
