package server_test

import (
	"bytes"
	"context"
	"io"
	"iter"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"naru/api"
	"naru/api/client"
	"naru/api/server"
	"naru/delivery"
	"naru/naru"
)

// fake stands for every hop; a test sets what it needs.
type fake struct {
	events    []delivery.Event
	eventsErr error
	up        delivery.Up

	apps      []api.App
	config    naru.Config
	err       error
	instances func() []naru.Instance
	watch     chan struct{}
	logs      map[string][]api.LogEntry
	followed  chan string // gets the id when a follow begins

	exec     func(ctx context.Context, q api.ExecRequest, st server.Streams) (int, error)
	attached func(ctx context.Context, st server.Streams) (int, error)
	startErr error
	signals  chan string

	mu      sync.Mutex
	removed []string
	tar     []byte
}

func (f *fake) emit(emit func(delivery.Event)) error {
	for _, e := range f.events {
		emit(e)
	}
	return f.eventsErr
}

func (f *fake) Up(_ context.Context, up delivery.Up, emit func(delivery.Event)) error {
	f.up = up
	return f.emit(emit)
}

func (f *fake) ChangeConfig(_ context.Context, _ naru.AppEnv, _ map[string]string, _ []string, _ bool, emit func(delivery.Event)) error {
	return f.emit(emit)
}

func (f *fake) Rollback(_ context.Context, _ naru.AppEnv, _ naru.ReleaseNumber, _ bool, emit func(delivery.Event)) error {
	return f.emit(emit)
}

func (f *fake) Scale(_ context.Context, _ naru.AppEnv, _ map[naru.ServiceName]int, _ bool, emit func(delivery.Event)) error {
	return f.emit(emit)
}

func (f *fake) Down(_ context.Context, _ naru.AppEnv, _, _ bool, emit func(delivery.Event)) error {
	return f.emit(emit)
}

func (f *fake) Follow(_ context.Context, _ naru.AppEnv, emit func(delivery.Event)) error {
	return f.emit(emit)
}

func (f *fake) Apps(context.Context) ([]api.App, error) { return f.apps, f.err }

func (f *fake) Config(context.Context, naru.AppEnv) (naru.Config, error) { return f.config, f.err }

func (f *fake) Releases(context.Context, naru.AppEnv) ([]naru.Release, error) { return nil, f.err }

func (f *fake) Rollout(_ context.Context, ae naru.AppEnv) (naru.Rollout, error) {
	return naru.Rollout{AppEnv: ae, ID: 1, To: 1, State: naru.RolloutDone}, f.err
}

func (f *fake) Instances(context.Context, naru.AppEnv) ([]naru.Instance, error) {
	return f.instances(), f.err
}

func (f *fake) Watch() (<-chan struct{}, func()) { return f.watch, func() {} }

func (f *fake) Logs(ctx context.Context, id string, o api.LogOptions) iter.Seq2[api.LogEntry, error] {
	return func(yield func(api.LogEntry, error) bool) {
		for _, e := range f.logs[id] {
			if !yield(e, nil) {
				return
			}
		}
		if o.Follow {
			f.followed <- id
			<-ctx.Done()
			yield(api.LogEntry{}, ctx.Err())
		}
	}
}

func (f *fake) Exec(ctx context.Context, _ string, q api.ExecRequest, st server.Streams) (int, error) {
	return f.exec(ctx, q, st)
}

func (f *fake) ExecDetached(ctx context.Context, _ string, q api.ExecRequest) error {
	_, err := f.exec(ctx, q, server.Streams{})
	return err
}

func (f *fake) RunJob(ctx context.Context, job naru.JobSpec, st server.Streams) (int, error) {
	return f.exec(ctx, api.ExecRequest{Command: job.Command, TTY: job.TTY}, st)
}

func (f *fake) ServeSession(_ context.Context, conn net.Conn) error {
	_, err := io.Copy(conn, conn)
	return err
}

// containers is the engine's half, whose names meet those of apps.
type containers struct{ *fake }

// known is a container with much to say.
func known(id, state string) api.Container {
	answers := []api.HealthAnswer{{Output: "well"}}
	return api.Container{ContainerSummary: api.ContainerSummary{ID: id, State: state, Health: &api.Health{Status: "healthy", Answers: answers}}}
}

func (c containers) List(context.Context) ([]api.Container, error) {
	return []api.Container{known("a", "running"), known("b", "exited")}, c.err
}

func (c containers) Get(_ context.Context, id string) (api.Container, error) {
	return known(id, "running"), c.err
}

func (c containers) Create(_ context.Context, spec api.ContainerSpec) (api.Container, error) {
	if spec.Image == "missing" {
		return api.Container{}, naru.Errorf(naru.NotFound, `no image "missing"`)
	}
	ct := known("new", "created")
	ct.Spec = spec
	return ct, c.err
}

func (c containers) Start(context.Context, string) error { return c.startErr }

func (c containers) RunAttached(ctx context.Context, _ string, st server.Streams) (int, error) {
	return c.attached(ctx, st)
}

func (c containers) Stop(context.Context, string, time.Duration) error { return c.err }

func (c containers) Kill(_ context.Context, _ string, signal string) error {
	c.signals <- signal
	return nil
}

func (c containers) Remove(_ context.Context, id string, _ bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.removed = append(c.removed, id)
	return c.err
}

type images struct{ *fake }

func (i images) List(context.Context) ([]api.Image, error) { return nil, i.err }

func (i images) Get(_ context.Context, name string) (api.Image, error) {
	return api.Image{Names: []string{name}}, i.err
}

func (i images) Pull(_ context.Context, name string) (api.Image, error) {
	return api.Image{Names: []string{name}}, i.err
}

func (i images) Tag(context.Context, string, string) error { return i.err }

func (i images) Import(_ context.Context, r io.Reader, name string) ([]api.Image, error) {
	b, err := io.ReadAll(r)
	i.tar = b
	return []api.Image{{Names: []string{name}}}, err
}

func (i images) Remove(context.Context, string) error { return i.err }

// start serves the fake on a socket and returns a client of it; the test fails when the server does not end in order.
func start(t *testing.T, f *fake) (c *client.Client, socket string) {
	t.Helper()
	if f.instances == nil {
		f.instances = func() []naru.Instance { return nil }
	}
	socket = filepath.Join(t.TempDir(), "naru.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := server.New(ctx, server.Config{Version: "test", Delivery: f, Apps: f, Instances: f, Logs: f, Processes: f,
		Containers: containers{f}, Images: images{f}, Sessions: f, Log: slog.New(slog.NewTextHandler(testWriter{t}, nil))})
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	c, err = client.New("unix://" + socket)
	if err != nil {
		t.Fatal(err)
	}
	return c, socket
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Logf("server: %s", bytes.TrimSpace(p))
	return len(p), nil
}
