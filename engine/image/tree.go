package image

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/pkg/labels"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"naru/naru"
)

// treeSeen is what was noticed in a tar on its way into the store.
type treeSeen struct {
	files   int
	archive bool // it has the index of an image archive
}

// storeTree stores a whole tar stream as a layer blob, reading it as a tar on the way.
func (s *Store) storeTree(ctx context.Context, r io.Reader) (_ ocispec.Descriptor, seen treeSeen, err error) {
	w, err := content.OpenWriter(ctx, s.content, content.WithRef("tree-"+rand.Text()))
	if err != nil {
		return ocispec.Descriptor{}, seen, fmt.Errorf("store layer: %w", err)
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	if seen, err = scanTree(io.TeeReader(r, w)); err != nil {
		return ocispec.Descriptor{}, seen, naru.Errorf(naru.InvalidArgument, "read tar archive: %w", err)
	}
	st, err := w.Status()
	if err != nil {
		return ocispec.Descriptor{}, seen, fmt.Errorf("store layer: %w", err)
	}
	d := w.Digest()
	err = w.Commit(ctx, st.Offset, d, content.WithLabels(map[string]string{labels.LabelUncompressed: d.String()}))
	if err != nil && !errdefs.IsAlreadyExists(err) {
		return ocispec.Descriptor{}, seen, fmt.Errorf("store layer: %w", err)
	}
	return ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: d, Size: st.Offset}, seen, nil
}

// scanTree reads a tar to the stream's end.
func scanTree(r io.Reader) (seen treeSeen, err error) {
	tr := tar.NewReader(r)
	for {
		hdr, err := tr.Next()
		if err == io.EOF {
			_, err = io.Copy(io.Discard, r) // padding after the end mark belongs to the blob too
			return seen, err
		}
		if err != nil {
			return seen, err
		}
		switch path.Clean(hdr.Name) {
		case ".":
		case ocispec.ImageLayoutFile, "manifest.json":
			seen.archive = true
		default:
			seen.files++
		}
	}
}

// writeImage stores the config and manifest of an image of uncompressed layers, and returns the manifest's descriptor.
func (s *Store) writeImage(ctx context.Context, config ocispec.ImageConfig, comment string, layers ...ocispec.Descriptor) (ocispec.Descriptor, error) {
	now := time.Now().UTC()
	img := ocispec.Image{Created: &now, Platform: platforms.DefaultSpec(), Config: config}
	img.RootFS.Type = "layers"
	for _, l := range layers {
		img.RootFS.DiffIDs = append(img.RootFS.DiffIDs, l.Digest)
		img.History = append(img.History, ocispec.History{Created: &now, Comment: comment})
	}
	cfg, err := s.writeJSON(ctx, ocispec.MediaTypeImageConfig, img)
	if err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("store config: %w", err)
	}
	desc, err := s.writeJSON(ctx, ocispec.MediaTypeImageManifest, ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, Config: cfg, Layers: layers,
	})
	if err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("store manifest: %w", err)
	}
	return desc, nil
}

func (s *Store) writeJSON(ctx context.Context, mediaType string, v any) (ocispec.Descriptor, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	desc := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(b), Size: int64(len(b))}
	return desc, content.WriteBlob(ctx, s.content, "json-"+desc.Digest.String(), bytes.NewReader(b), desc)
}
