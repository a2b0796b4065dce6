package builder

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	controlapi "github.com/moby/buildkit/api/services/control"
	"github.com/moby/buildkit/client"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"naru/naru"
)

// statusGrace is how long the news of a build that has ended may take to arrive.
const statusGrace = 2 * time.Second

// solve runs a build and passes its news to w. BuildKit's controller is called as the Go value that it is; only its
// status comes by way of a gRPC stream, whose place statusStream takes.
func (b *Builder) solve(ctx context.Context, req *controlapi.SolveRequest, w *watch) (*controlapi.SolveResponse, error) {
	listening, stop := context.WithCancel(context.WithoutCancel(ctx)) // a canceled build still says how it ended
	defer stop()
	var g errgroup.Group
	g.Go(func() error {
		return b.control.Status(&controlapi.StatusRequest{Ref: req.Ref}, statusStream{ctx: listening, watch: w})
	})
	resp, err := b.control.Solve(ctx, req)
	timer := time.AfterFunc(statusGrace, stop)
	defer timer.Stop()
	if serr := g.Wait(); serr != nil && err == nil && listening.Err() == nil {
		return nil, fmt.Errorf("follow build: %w", serr)
	}
	return resp, err
}

// statusStream hands BuildKit's status messages to a watch.
type statusStream struct {
	grpc.ServerStream // nil: the controller calls only what is defined below
	ctx               context.Context
	watch             *watch
}

func (s statusStream) Context() context.Context     { return s.ctx }
func (s statusStream) SetHeader(metadata.MD) error  { return nil }
func (s statusStream) SendHeader(metadata.MD) error { return nil }

func (s statusStream) Send(r *controlapi.StatusResponse) error {
	s.watch.update(client.NewSolveStatus(r))
	return nil
}

func (s statusStream) SendMsg(m any) error {
	r, ok := m.(*controlapi.StatusResponse)
	if !ok {
		return errors.New("status of an unknown type")
	}
	return s.Send(r)
}

// watch passes a build's news on and remembers what an error message will need.
type watch struct {
	build  naru.BuildID
	events func(Progress)
	rename func(string) string
	names  map[string]string // of steps
	tails  map[string]*tail  // of their output
}

func newWatch(id naru.BuildID, events func(Progress)) *watch {
	if events == nil {
		events = func(Progress) {}
	}
	same := func(name string) string { return name }
	w := &watch{build: id, events: events, rename: same, names: map[string]string{}, tails: map[string]*tail{}}
	events(Progress{Build: id})
	return w
}

func (w *watch) update(s *client.SolveStatus) {
	for _, v := range s.Vertexes {
		v.Name = w.rename(v.Name)
		w.names[string(v.Digest)] = v.Name
	}
	for _, l := range s.Logs {
		t := w.tails[string(l.Vertex)]
		if t == nil {
			t = &tail{}
			w.tails[string(l.Vertex)] = t
		}
		t.write(l.Data)
	}
	w.events(progressOf(w.build, s))
}

// tailLines and tailBytes bound the output in an error message.
const (
	tailLines = 20
	tailBytes = 16 << 10
)

// tail keeps the end of a step's output.
type tail struct{ b []byte }

func (t *tail) write(p []byte) {
	t.b = append(t.b, p...)
	if over := len(t.b) - 2*tailBytes; over > 0 {
		t.b = append([]byte(nil), t.b[over:]...)
	}
}

func (t *tail) lines() [][]byte {
	if t == nil {
		return nil
	}
	b := bytes.TrimRight(t.b, "\r\n")
	if len(b) > tailBytes {
		b = b[len(b)-tailBytes:]
	}
	if len(b) == 0 {
		return nil
	}
	lines := bytes.Split(b, []byte("\n"))
	return lines[max(0, len(lines)-tailLines):]
}
