package image

import (
	"context"
	"regexp"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/distribution/reference"

	"naru/naru"
)

// Normalize spells a name in full, as Docker does: "busybox" is docker.io/library/busybox:latest.
func Normalize(name string) (string, error) {
	named, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return "", naru.Errorf(naru.InvalidArgument, "image name %q: %w", name, err)
	}
	return reference.TagNameOnly(named).String(), nil
}

// Familiar is the short spelling of a full name, for people.
func Familiar(full string) string {
	named, err := reference.ParseNormalizedNamed(full)
	if err != nil {
		return full
	}
	return reference.FamiliarString(named)
}

// digestIn returns the digest that ref is, or that it ends with after an "@".
func digestIn(ref string) (naru.Digest, bool) {
	m := digestSuffix.FindStringSubmatch(ref)
	if m == nil {
		return "", false
	}
	return naru.Digest(m[1]), true
}

var (
	digestSuffix = regexp.MustCompile(`(?:^|@)(sha256:[0-9a-f]{64})$`)
	hexPrefix    = regexp.MustCompile(`^[0-9a-f]{6,64}$`)
)

// namedImages is the table of names with the namespace filled in.
type namedImages struct{ store images.Store }

func (n namedImages) Get(ctx context.Context, name string) (images.Image, error) {
	return n.store.Get(inNamespace(ctx), name)
}

func (n namedImages) List(ctx context.Context, filters ...string) ([]images.Image, error) {
	return n.store.List(inNamespace(ctx), filters...)
}

func (n namedImages) Create(ctx context.Context, image images.Image) (images.Image, error) {
	return n.store.Create(inNamespace(ctx), image)
}

func (n namedImages) Update(ctx context.Context, image images.Image, fieldpaths ...string) (images.Image, error) {
	return n.store.Update(inNamespace(ctx), image, fieldpaths...)
}

func (n namedImages) Delete(ctx context.Context, name string, opts ...images.DeleteOpt) error {
	return n.store.Delete(inNamespace(ctx), name, opts...)
}
