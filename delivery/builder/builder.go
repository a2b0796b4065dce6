// Package builder turns a service's folder into an image. It receives a service's build spec and a session through which
// the folder can be read; it owns the table of builds and BuildKit, which runs inside this process on the engine's own
// image store; it hands on the digest of an image that the engine can start at once.
//
// BuildKit decides what must be done and what is cached. The steps of a Dockerfile run where Config.Steps runs them,
// never in BuildKit's own containers. Only this package knows BuildKit.
package builder

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"github.com/moby/buildkit/control"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/util/bklog"
	"github.com/moby/buildkit/util/imageutil"
	"github.com/sirupsen/logrus"

	"naru/engine/image"
	"naru/store"
)

// Config says what a Builder works with.
type Config struct {
	Dir    string       // for BuildKit's records; the builder's alone
	Images *image.Store // base images come from here and built ones go here
	Store  *store.Store // for table builds
	Steps  StepRunner   // runs RUN steps
}

// Builder builds images. Any number of builds can run side by side.
type Builder struct {
	cfg      Config
	sessions *session.Manager
	worker   *worker
	control  *control.Controller
	stop     chan struct{} // closed by Close
	running  sync.WaitGroup
	goBase   goBase
}

// New opens a builder and marks as failed the builds that a dead daemon left running. The image store must stay open
// until Close.
func New(ctx context.Context, cfg Config) (*Builder, error) {
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make builder folder: %w", err)
	}
	if err := clearMounts(filepath.Join(cfg.Dir, "mounts"), cfg.Images.Dir()); err != nil {
		return nil, fmt.Errorf("clear mounts of a dead builder: %w", err)
	}
	if err := failAbandoned(ctx, cfg.Store); err != nil {
		return nil, err
	}
	sessions, err := session.NewManager()
	if err != nil {
		return nil, fmt.Errorf("make session manager: %w", err)
	}
	b := &Builder{cfg: cfg, sessions: sessions, stop: make(chan struct{})}
	if err := b.assemble(quiet(ctx)); err != nil {
		return nil, fmt.Errorf("open builder %s: %w", cfg.Dir, err)
	}
	return b, nil
}

// quiet keeps BuildKit's log lines from the daemon's standard error: what matters of them is in the errors it returns.
func quiet(ctx context.Context) context.Context {
	l := logrus.New()
	l.SetOutput(io.Discard)
	return bklog.WithLogger(ctx, logrus.NewEntry(l))
}

// Close waits for running builds, whose contexts the caller has ended, and closes the builder's records.
func (b *Builder) Close() error {
	b.running.Wait()
	close(b.stop)
	imageutil.CancelCacheLeases() // BuildKit keeps what it pulled leased for minutes; nobody will come for it now
	return b.control.Close()
}
