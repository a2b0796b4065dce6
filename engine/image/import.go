package image

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/images/archive"
	"github.com/containerd/containerd/v2/pkg/archive/compression"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"naru/naru"
)

// peekSize is how much of a stream is looked at to tell an image archive from a plain tree of files.
const peekSize = 64 << 10

// Import stores the images in a tar stream: an OCI layout, what docker save writes, or a plain root file system; it may
// be compressed with gzip or zstd. The name is for an archive of one image and may be empty if the archive says its
// own. On an error nothing is left behind.
func (s *Store) Import(ctx context.Context, r io.Reader, name string) (list []Image, err error) {
	ctx = inNamespace(ctx)
	if name != "" {
		if name, err = Normalize(name); err != nil {
			return nil, err
		}
	}
	err = s.leased(ctx, func(ctx context.Context) error {
		named, err := s.importStream(ctx, r, name)
		if err != nil {
			return err
		}
		list, err = s.settle(ctx, named)
		return err
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("import image: %w", err), s.Collect(context.WithoutCancel(ctx)))
	}
	return list, nil
}

// namedTarget is an image that is stored but does not have its name yet.
type namedTarget struct {
	name   string
	target ocispec.Descriptor
}

// settle checks and unpacks the images, then gives them their names: all or none.
func (s *Store) settle(ctx context.Context, named []namedTarget) ([]Image, error) {
	for _, n := range named {
		if err := s.complete(ctx, n.target); err != nil {
			return nil, fmt.Errorf("image %s: %w", Familiar(n.name), err)
		}
	}
	var list []Image
	for _, n := range named {
		if err := s.setName(ctx, n.name, n.target); err != nil {
			return nil, err
		}
		img, err := s.getByName(ctx, n.name)
		if err != nil {
			return nil, fmt.Errorf("read back %s: %w", Familiar(n.name), err)
		}
		list = append(list, img)
	}
	return list, nil
}

// complete checks that all of the image is stored, ties its parts together for the collector, and unpacks it.
func (s *Store) complete(ctx context.Context, target ocispec.Descriptor) error {
	desc, err := s.pick(ctx, target)
	if err != nil {
		return fromOutside(err)
	}
	_, _, _, missing, err := images.Check(ctx, s.content, desc, platforms.All)
	if err != nil {
		return fromOutside(err)
	}
	if len(missing) > 0 {
		return naru.Errorf(naru.InvalidArgument, "blob %s is missing", missing[0].Digest)
	}
	if err := s.tie(ctx, target); err != nil {
		return fromOutside(err)
	}
	m, err := s.readTarget(ctx, desc)
	if err != nil {
		return fromOutside(err)
	}
	if p := m.image.Platform; p.Architecture != "" && !platforms.Default().Match(p) {
		return naru.Errorf(naru.InvalidArgument, "it is for %s, this machine is %s", platforms.Format(p), platforms.Format(platforms.DefaultSpec()))
	}
	_, err = s.unpack(ctx, m)
	return fromOutside(err)
}

// tie labels each stored manifest with what it refers to. Variants for other platforms may be absent.
func (s *Store) tie(ctx context.Context, target ocispec.Descriptor) error {
	children := images.SetChildrenLabels(s.content, images.ChildrenHandler(s.content))
	return images.Walk(ctx, images.HandlerFunc(func(ctx context.Context, d ocispec.Descriptor) ([]ocispec.Descriptor, error) {
		if _, err := s.content.Info(ctx, d.Digest); errdefs.IsNotFound(err) {
			return nil, images.ErrSkipDesc
		}
		return children(ctx, d)
	}), target)
}

// fromOutside gives err the code for bad input, unless it has one. What it is called on fails because of what the
// archive says, save for a full disk, which its message tells.
func fromOutside(err error) error {
	var coded *naru.Error
	if err == nil || errors.As(err, &coded) || errors.Is(err, context.Canceled) {
		return err
	}
	return naru.Errorf(naru.InvalidArgument, "%w", err)
}

func (s *Store) importStream(ctx context.Context, r io.Reader, name string) ([]namedTarget, error) {
	plain, err := compression.DecompressStream(r)
	if err != nil {
		return nil, naru.Errorf(naru.InvalidArgument, "read archive: %w", err)
	}
	defer plain.Close()
	br := bufio.NewReaderSize(plain, peekSize)
	head, err := br.Peek(peekSize)
	if err != nil && err != io.EOF {
		return nil, naru.Errorf(naru.InvalidArgument, "read archive: %w", err)
	}
	if len(head) == 0 {
		return nil, naru.Errorf(naru.InvalidArgument, "the archive is empty")
	}
	if looksLikeImages(head) {
		return s.importArchive(ctx, br, name)
	}
	return s.importTree(ctx, br, name)
}

// archiveFile matches the files of OCI layouts and of all ages of docker save.
var archiveFile = regexp.MustCompile(`^(oci-layout|index\.json|manifest\.json|repositories|blobs(/sha256(/[0-9a-f]{64})?)?|` +
	`(sha256:)?[0-9a-f]{64}(\.json|\.tar|\.tar\.gz)?(/(VERSION|json|layer\.tar)?)?)$`)

// looksLikeImages tells from the beginning of a tar stream whether it holds images rather than a root file system.
func looksLikeImages(head []byte) bool {
	tr := tar.NewReader(bytes.NewReader(head))
	for {
		hdr, err := tr.Next()
		if err != nil {
			return false
		}
		if name := path.Clean(strings.TrimPrefix(hdr.Name, "/")); name != "." {
			return archiveFile.MatchString(name)
		}
	}
}

// importArchive stores the images of an OCI layout or docker-save tar.
func (s *Store) importArchive(ctx context.Context, r io.Reader, name string) ([]namedTarget, error) {
	desc, err := archive.ImportIndex(ctx, s.content, r)
	if err != nil {
		return nil, fromOutside(fmt.Errorf("read image archive: %w", err))
	}
	var index ocispec.Index
	if err := s.readJSON(ctx, desc, &index); err != nil {
		return nil, fromOutside(fmt.Errorf("read image archive: %w", err))
	}
	if len(index.Manifests) == 0 {
		return nil, naru.Errorf(naru.InvalidArgument, "the archive holds no image")
	}
	if name != "" {
		return nameOne(desc, index, name)
	}
	return nameAll(index)
}

// nameOne names the archive's only image.
func nameOne(desc ocispec.Descriptor, index ocispec.Index, name string) ([]namedTarget, error) {
	distinct := slices.Clone(index.Manifests)
	slices.SortFunc(distinct, func(a, b ocispec.Descriptor) int { return strings.Compare(string(a.Digest), string(b.Digest)) })
	distinct = slices.CompactFunc(distinct, func(a, b ocispec.Descriptor) bool { return a.Digest == b.Digest })
	if len(distinct) == 1 {
		return []namedTarget{{name, distinct[0]}}, nil
	}
	for _, m := range index.Manifests {
		if m.Platform == nil || archiveName(m) != "" {
			return nil, naru.Errorf(naru.InvalidArgument, "the archive holds %d images: import it without a name", len(distinct))
		}
	}
	return []namedTarget{{name, desc}}, nil // variants of one image
}

// nameAll names each image as the archive does.
func nameAll(index ocispec.Index) ([]namedTarget, error) {
	var list []namedTarget
	for _, m := range index.Manifests {
		name := archiveName(m)
		if name == "" {
			return nil, naru.Errorf(naru.InvalidArgument, "the archive does not name its image %s: import it with a name", naru.Digest(m.Digest).Short())
		}
		full, err := Normalize(name)
		if err != nil {
			return nil, err
		}
		list = append(list, namedTarget{full, m})
	}
	return list, nil
}

// archiveName is the name that an archive gives to an image, "" when it gives none or only a tag.
func archiveName(m ocispec.Descriptor) string {
	if n := m.Annotations[images.AnnotationImageName]; n != "" {
		return n
	}
	if n := m.Annotations[ocispec.AnnotationRefName]; strings.ContainsAny(n, "/:") {
		return n
	}
	return ""
}

// importTree stores a tar of a root file system as an image of one layer. When the tar turns out to be an image archive
// after all, with its index at the end, it is read again as one.
func (s *Store) importTree(ctx context.Context, r io.Reader, name string) ([]namedTarget, error) {
	layer, seen, err := s.storeTree(ctx, r)
	if err != nil {
		return nil, err
	}
	if seen.archive {
		ra, err := s.content.ReaderAt(ctx, layer)
		if err != nil {
			return nil, fmt.Errorf("read archive again: %w", err)
		}
		defer ra.Close()
		return s.importArchive(ctx, content.NewReader(ra), name)
	}
	if seen.files == 0 {
		return nil, naru.Errorf(naru.InvalidArgument, "the archive is empty")
	}
	if name == "" {
		return nil, naru.Errorf(naru.InvalidArgument, "this is a plain root file system, which has no name of its own: import it with a name")
	}
	desc, err := s.writeImage(ctx, ocispec.ImageConfig{}, "imported root file system", layer)
	if err != nil {
		return nil, err
	}
	return []namedTarget{{name, desc}}, nil
}
