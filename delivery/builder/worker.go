package builder

import (
	"context"
	"fmt"

	"github.com/moby/buildkit/cache"
	"github.com/moby/buildkit/cache/metadata"
	"github.com/moby/buildkit/exporter"
	"github.com/moby/buildkit/exporter/containerimage/exptypes"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/worker/base"

	"naru/engine/image"
	"naru/naru"
)

// worker is BuildKit's worker with another image exporter: one that tells the image store which snapshot already holds
// the files of the image, so that starting it does not extract the layers that were just made.
type worker struct {
	*base.Worker
	images *image.Store
}

// Exporter returns BuildKit's exporter of that name, wrapped.
func (w *worker) Exporter(name string, sm *session.Manager) (exporter.Exporter, error) {
	e, err := w.Worker.Exporter(name, sm)
	if err != nil {
		return nil, err
	}
	return adoptingExporter{e, w}, nil
}

type adoptingExporter struct {
	exporter.Exporter
	worker *worker
}

func (e adoptingExporter) Resolve(ctx context.Context, id int, attrs map[string]string) (exporter.ExporterInstance, error) {
	i, err := e.Exporter.Resolve(ctx, id, attrs)
	if err != nil {
		return nil, err
	}
	return adoptingInstance{i, e.worker}, nil
}

type adoptingInstance struct {
	exporter.ExporterInstance
	worker *worker
}

func (i adoptingInstance) Export(ctx context.Context, src *exporter.Source, info exporter.ExportBuildInfo) (map[string]string, exporter.FinalizeFunc, exporter.DescriptorReference, error) {
	resp, finalize, ref, err := i.ExporterInstance.Export(ctx, src, info)
	if err != nil {
		return nil, nil, nil, err
	}
	if err := i.worker.adopt(ctx, src.Ref, naru.Digest(resp[exptypes.ExporterImageDigestKey]), info.SessionID); err != nil {
		_ = ref.Release() // the error that is returned says why nothing came of the export
		return nil, nil, nil, err
	}
	return resp, finalize, ref, nil
}

// adopt tells the image store that ref's snapshot holds the files of the image d. An image without layers has none.
func (w *worker) adopt(ctx context.Context, ref cache.ImmutableRef, d naru.Digest, sessionID string) error {
	if ref == nil {
		return nil
	}
	if err := ref.Extract(ctx, session.NewGroup(sessionID)); err != nil { // a base image taken as it is may be unextracted
		return fmt.Errorf("extract layers: %w", err)
	}
	name, err := snapshotOf(w.MetadataStore, ref.ID())
	if err != nil {
		return err
	}
	return w.images.Adopt(ctx, d, name)
}

// snapshotOf reads the name of a cache record's snapshot from BuildKit's records: its API has no call for that.
func snapshotOf(records *metadata.Store, id string) (string, error) {
	item, ok := records.Get(id)
	if !ok {
		return "", fmt.Errorf("find snapshot of %s: no such record", id)
	}
	v := item.Get("cache.snapshot")
	if v == nil {
		return id, nil // BuildKit's own rule: a record without the field is named like its snapshot
	}
	var name string
	if err := v.Unmarshal(&name); err != nil {
		return "", fmt.Errorf("read snapshot of %s: %w", id, err)
	}
	return name, nil
}
