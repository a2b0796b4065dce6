package testkit

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Load sends requests at a steady rate, whatever the answers do, and remembers each failure and each answer seen.
type Load struct {
	t      testing.TB
	client *http.Client
	url    string
	host   string
	cancel context.CancelFunc
	ended  chan struct{}

	mu       sync.Mutex
	sent     int
	failures []string
	answers  map[string]int
}

// StartLoad sends perSecond GET requests a second for the path to the router at address, as if for host, until Stop.
func StartLoad(t testing.TB, address, host, path string, perSecond int) *Load {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	l := &Load{
		t: t, url: "http://" + address + path, host: host,
		client:  &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 64, DialContext: (&net.Dialer{}).DialContext}},
		cancel:  cancel,
		ended:   make(chan struct{}),
		answers: map[string]int{},
	}
	go l.run(ctx, time.Second/time.Duration(perSecond))
	t.Cleanup(func() { l.Stop() })
	return l
}

func (l *Load) run(ctx context.Context, every time.Duration) {
	defer close(l.ended)
	var requests sync.WaitGroup
	defer requests.Wait()
	ticks := time.NewTicker(every)
	defer ticks.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
			requests.Go(l.request) // not bound to ctx: what was sent is answered
		}
	}
}

func (l *Load) request() {
	start := time.Now()
	body, err := get(l.client, l.url, l.host)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sent++
	if err != nil {
		l.failures = append(l.failures, fmt.Sprintf("%s after %v: %v", start.Format("15:04:05.000"), time.Since(start).Round(time.Millisecond), err))
		return
	}
	l.answers[body]++
}

// Waits blocks until more requests have been answered, so that what follows happens under load.
func (l *Load) Waits(more int) {
	l.t.Helper()
	before := l.answered()
	Eventually(l.t, 30*time.Second, fmt.Sprintf("%d more answers", more), func() error {
		if got := l.answered() - before; got < more {
			return fmt.Errorf("got %d", got)
		}
		return nil
	})
}

func (l *Load) answered() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sent
}

// Stop ends the load, waits for the last answers, and returns how many requests gave which body. Any request that
// failed, or was answered with a status of 400 or more, fails the test.
func (l *Load) Stop() map[string]int {
	l.t.Helper()
	l.cancel()
	<-l.ended
	l.client.CloseIdleConnections()
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.failures) > 0 {
		l.t.Errorf("%d of %d requests failed:\n%s", len(l.failures), l.sent, strings.Join(l.failures[:min(10, len(l.failures))], "\n"))
		l.failures = nil // told once
	}
	return l.answers
}

// OnlySees fails the test when an answer was seen that is none of those wanted, or one wanted was not seen.
func (l *Load) OnlySees(bodies ...string) {
	l.t.Helper()
	seen := l.Stop()
	for body := range seen {
		if !slices.Contains(bodies, body) {
			l.t.Errorf("%d requests were answered %q, want only %q", seen[body], body, bodies)
		}
	}
	for _, body := range bodies {
		if seen[body] == 0 {
			l.t.Errorf("no request was answered %q, only %v", body, seen)
		}
	}
}

// Get asks the daemon's router once, as if for host.
func (d *Daemon) Get(host, path string) (string, error) {
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	return get(client, "http://"+d.HTTP+path, host)
}

func get(client *http.Client, url, host string) (string, error) {
	request, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	request.Host = host
	response, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return "", fmt.Errorf("read the answer: %w", err)
	}
	if response.StatusCode >= 400 {
		return "", fmt.Errorf("status %s: %s", response.Status, body)
	}
	return strings.TrimSpace(string(body)), nil
}
