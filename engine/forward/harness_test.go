package forward_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"naru/engine/forward"
	"naru/engine/logs"
)

// patience is for what comes by itself, on a machine that may be slow.
const patience = 30 * time.Second

// container is a log that a test writes as the keeper does, and that is followed as the daemon does.
type container struct {
	t      *testing.T
	dir    string
	writer *logs.Writer
	exited chan struct{}
	lines  int
}

func newContainer(t *testing.T, limits logs.Limits) *container {
	t.Helper()
	dir := t.TempDir()
	w, err := logs.Open(filepath.Join(dir, "log"), limits, new(logs.Scratch))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	return &container{t: t, dir: dir, writer: w, exited: make(chan struct{})}
}

// say writes n more lines, numbered from 0 on over all calls.
func (c *container) say(n int) {
	c.t.Helper()
	for range n {
		c.write(logs.Stdout, fmt.Sprintf("line %d\n", c.lines))
		c.lines++
	}
}

func (c *container) write(s logs.Stream, text string) {
	c.t.Helper()
	if err := c.writer.Append(time.Now(), s, []byte(text)); err != nil {
		c.t.Fatal(err)
	}
}

func (c *container) exit() { close(c.exited) }

// follow forwards in the background until the returned function ends it, as a daemon's death would.
func (c *container) follow(to forward.Receiver) (end func() error) {
	ctx, cancel := context.WithCancel(c.t.Context())
	result := make(chan error, 1)
	go func() {
		result <- forward.Follow(ctx, forward.Log{
			Source: forward.Source{ID: "0123456789abcdef", Name: "web", Image: "busybox", Labels: map[string]string{"tier": "front"}},
			Dir:    filepath.Join(c.dir, "log"), Position: filepath.Join(c.dir, "position"),
			Ended: func() <-chan struct{} { return c.exited },
		}, to, slog.New(slog.NewTextHandler(c.t.Output(), nil)))
	}()
	return func() error {
		cancel()
		return <-result
	}
}

// heard is what a receiver got, in order, and what it was told is gone.
type heard struct {
	mu      sync.Mutex
	lines   []string
	dropped int
}

func (h *heard) add(lines []string, dropped int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lines, h.dropped = append(h.lines, lines...), h.dropped+dropped
}

// until waits for what must have been heard.
func (h *heard) until(t *testing.T, what string, ok func(lines []string, dropped int) bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		h.mu.Lock()
		good, n, dropped := ok(h.lines, h.dropped), len(h.lines), h.dropped
		h.mu.Unlock()
		if good {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not heard: %s; %d lines were, and of %d dropped", what, n, dropped)
		}
	}
}

// all waits until each of the lines 0 to n-1 was heard, once or more.
func (h *heard) all(t *testing.T, n int) {
	t.Helper()
	h.until(t, fmt.Sprintf("all %d lines", n), func(lines []string, _ int) bool {
		seen := map[string]bool{}
		for _, l := range lines {
			seen[l] = true
		}
		for i := range n {
			if !seen[fmt.Sprintf("line %d", i)] {
				return false
			}
		}
		return true
	})
}

// collector is an OTLP receiver: net/http, and the JSON encoding read by hand.
type collector struct {
	heard
	*httptest.Server
	t *testing.T

	answers chan func(http.ResponseWriter) // taken before a 200
	at      []time.Time                    // of the requests
}

func newCollector(t *testing.T, listener net.Listener) *collector {
	t.Helper()
	c := &collector{t: t, answers: make(chan func(http.ResponseWriter), 100)}
	c.Server = httptest.NewUnstartedServer(http.HandlerFunc(c.serve))
	if listener != nil {
		_ = c.Listener.Close()
		c.Listener = listener
	}
	c.Start()
	t.Cleanup(c.Close)
	return c
}

func (c *collector) serve(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	c.at = append(c.at, time.Now())
	c.mu.Unlock()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler) // the connection was cut
	}
	lines, dropped, err := readOTLP(r, body)
	if err != nil {
		c.t.Error(err)
	}
	select {
	case answer := <-c.answers:
		answer(w)
		return
	default:
	}
	c.add(lines, dropped)
	fmt.Fprint(w, `{"partialSuccess":{}}`)
}

func readOTLP(r *http.Request, text []byte) (lines []string, dropped int, err error) {
	if r.URL.Path != "/v1/logs" || r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" {
		return nil, 0, fmt.Errorf("%s %s %v", r.Method, r.URL, r.Header)
	}
	var body struct {
		ResourceLogs []struct {
			Resource  struct{ Attributes []attribute }
			ScopeLogs []struct {
				LogRecords []struct {
					TimeUnixNano string
					Body         struct {
						StringValue string
						BytesValue  []byte
					}
					Attributes []attribute
				}
			}
		}
	}
	if err := json.Unmarshal(text, &body); err != nil {
		return nil, 0, err
	}
	for _, resource := range body.ResourceLogs {
		if got := fmt.Sprint(resource.Resource.Attributes); got != wantAttributes {
			return nil, 0, fmt.Errorf("the resource is %s", got)
		}
		for _, scope := range resource.ScopeLogs {
			for _, record := range scope.LogRecords {
				if a := record.Attributes[0]; a.Key == "naru.dropped_lines" {
					n := 0
					_, err := fmt.Sscan(a.Value.IntValue, &n)
					if err != nil {
						return nil, 0, err
					}
					dropped += n
					continue
				}
				lines = append(lines, record.Body.StringValue+string(record.Body.BytesValue))
			}
		}
	}
	return lines, dropped, nil
}

type attribute struct {
	Key   string
	Value struct{ StringValue, IntValue string }
}

const wantAttributes = "[{service.name {web }} {container.id {0123456789abcdef }} {container.name {web }} {container.image.name {busybox }} {container.label.tier {front }}]"

func open(t *testing.T, destination string) forward.Receiver {
	t.Helper()
	r, err := forward.Open(destination, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (c *collector) receiver(t *testing.T) forward.Receiver {
	return open(t, "otlp+"+c.URL)
}
