package router

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"naru/naru"
)

const testHost = "app.example"

// endpoint is the address of a server started for a test.
func endpoint(s *httptest.Server) netip.AddrPort {
	return netip.MustParseAddrPort(s.Listener.Addr().String())
}

// backendServer starts a server that ends with the test.
func backendServer(t testing.TB, h http.HandlerFunc) *httptest.Server {
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

// rawServer answers each connection by a function of its own, for what net/http would never send.
func rawServer(t testing.TB, serve func(net.Conn, *bufio.Reader)) netip.AddrPort {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { defer c.Close(); serve(c, bufio.NewReader(c)) }()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return netip.MustParseAddrPort(l.Addr().String())
}

func routesTo(endpoints ...netip.AddrPort) []naru.Route {
	return []naru.Route{{Host: testHost, Path: "/", Backends: []naru.Backend{{Weight: 100, Endpoints: endpoints}}}}
}

// front is a router that serves on loopback, and a client of it.
type front struct {
	*Router
	addr   string
	client *http.Client
	stop   func() // ends Serve and waits for it
}

func serveRouter(t testing.TB, opts Options, endpoints ...netip.AddrPort) *front {
	r := New(opts)
	r.SetRoutes(routesTo(endpoints...))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- r.Serve(ctx, l) }()
	transport := &http.Transport{MaxIdleConnsPerHost: 100, DisableCompression: true}
	stopped := false
	f := &front{Router: r, addr: l.Addr().String(), client: &http.Client{Transport: transport}}
	f.stop = func() {
		if stopped {
			return
		}
		stopped = true
		transport.CloseIdleConnections() // Serve would wait for them to ask once more
		cancel()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	}
	t.Cleanup(func() { f.stop(); r.SetRoutes(nil) })
	return f
}

func (f *front) request(t testing.TB, method, path string, body io.Reader) *http.Request {
	req, err := http.NewRequest(method, "http://"+f.addr+path, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = testHost
	return req
}

// do sends a request and returns the response with its body read.
func (f *front) do(t testing.TB, req *http.Request) (*http.Response, string) {
	t.Helper()
	resp, err := f.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

func (f *front) get(t testing.TB, path string) (*http.Response, string) {
	t.Helper()
	return f.do(t, f.request(t, "GET", path, nil))
}

// eventually waits for a condition that another goroutine brings about.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !condition(); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatal("never: " + what)
		}
	}
}

// TestMain ends with a look at what the tests left running.
func TestMain(m *testing.M) {
	code := m.Run()
	left := ""
	for end := time.Now().Add(5 * time.Second); code == 0 && time.Now().Before(end); runtime.Gosched() {
		if left = routerGoroutines(); left == "" {
			break
		}
	}
	if left != "" {
		println("goroutines left behind:\n" + left)
		code = 1
	}
	os.Exit(code)
}

// routerGoroutines are the stacks that pass through this package, the one that asks left out.
func routerGoroutines() string {
	buffer := make([]byte, 1<<20)
	var left []string
	for _, stack := range strings.Split(string(buffer[:runtime.Stack(buffer, true)]), "\n\n")[1:] {
		if strings.Contains(stack, "edge/router.") {
			left = append(left, stack)
		}
	}
	return strings.Join(left, "\n\n")
}

// inflight is the number of requests and upgraded connections that an endpoint has.
func (f *front) inflight(endpoint netip.AddrPort) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	if u := f.upstreams[endpoint]; u != nil {
		return int(u.inflight.Load())
	}
	return 0
}
