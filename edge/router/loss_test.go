package router

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// load sends requests from several clients until stop is closed, and counts those that fail.
type load struct {
	sent, failed atomic.Int64
	firstFailure atomic.Value
	stop         chan struct{}
	clients      sync.WaitGroup
}

func startLoad(t testing.TB, f *front, method string) *load {
	l := &load{stop: make(chan struct{})}
	for range 8 {
		l.clients.Go(func() {
			for {
				select {
				case <-l.stop:
					return
				default:
					l.one(f, f.request(t, method, "/", strings.NewReader("")))
				}
			}
		})
	}
	return l
}

func (l *load) one(f *front, req *http.Request) {
	resp, err := f.client.Do(req)
	if err == nil {
		_, err = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			err = errors.New(resp.Status)
		}
	}
	l.sent.Add(1)
	if err != nil {
		l.failed.Add(1)
		l.firstFailure.CompareAndSwap(nil, err.Error())
	}
}

// end stops the load and wants nothing lost of at least some requests.
func (l *load) end(t testing.TB) {
	t.Helper()
	close(l.stop)
	l.clients.Wait()
	if n := l.failed.Load(); n > 0 || l.sent.Load() == 0 {
		t.Errorf("%d of %d requests failed, the first with %v", n, l.sent.Load(), l.firstFailure.Load())
	}
	t.Logf("%d requests", l.sent.Load())
}

// more waits until the load has sent n further requests.
func (l *load) more(t testing.TB, n int64) {
	t.Helper()
	until := l.sent.Load() + n
	eventually(t, "the load goes on", func() bool { return l.sent.Load() >= until })
}

func ok(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "ok") }

// TestReleases replaces all endpoints again and again under load, as a rollout does: new ones into the table, old ones
// drained, then stopped without mercy. POSTs are not repeatable, so each that met a stopped endpoint would show.
func TestReleases(t *testing.T) {
	start := func() (*httptest.Server, netip.AddrPort) {
		s := httptest.NewServer(http.HandlerFunc(ok))
		return s, endpoint(s)
	}
	old, oldAddr := start()
	f := serveRouter(t, Options{}, oldAddr)
	posts, gets := startLoad(t, f, "POST"), startLoad(t, f, "GET")
	for range 20 {
		posts.more(t, 20)
		next, nextAddr := start()
		f.SetRoutes(routesTo(oldAddr, nextAddr))
		posts.more(t, 20)
		f.SetRoutes(routesTo(nextAddr))
		if err := f.Drain(t.Context(), []netip.AddrPort{oldAddr}); err != nil {
			t.Fatal(err)
		}
		old.Config.Close() // with whatever it holds
		old.Close()
		old, oldAddr = next, nextAddr
	}
	posts.end(t)
	gets.end(t)
	old.Close()
}

// TestCrash kills one of two endpoints under load, connections and all, while it stays in the table.
func TestCrash(t *testing.T) {
	for range 5 {
		a, b := httptest.NewServer(http.HandlerFunc(ok)), httptest.NewServer(http.HandlerFunc(ok))
		f := serveRouter(t, Options{}, endpoint(a), endpoint(b))
		gets := startLoad(t, f, "GET")
		gets.more(t, 100)
		a.Listener.Close()
		a.CloseClientConnections()
		gets.more(t, 100)
		gets.end(t)
		f.stop()
		a.Close()
		b.Close()
	}
}

// TestClosedConnection posts over connections that the endpoint closes after each response, without saying so: every
// request must arrive once.
func TestClosedConnection(t *testing.T) {
	var arrived atomic.Int64
	addr := rawServer(t, func(c net.Conn, br *bufio.Reader) {
		req, err := http.ReadRequest(br)
		if err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, req.Body)
		arrived.Add(1)
		fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	})
	f := serveRouter(t, Options{}, addr)
	for range 200 {
		resp, body := f.do(t, f.request(t, "POST", "/", strings.NewReader("a body")))
		if resp.StatusCode != 200 {
			// The close crossed the request on its way. It is not known to have been heard, so it must not be repeated.
			if body == "ok" || resp.StatusCode != 502 {
				t.Fatalf("%d %s", resp.StatusCode, body)
			}
			t.Log("a close crossed a request")
			arrived.Add(1)
		}
	}
	if n := arrived.Load(); n != 200 {
		t.Errorf("200 requests arrived %d times", n)
	}
}

// TestHeardButUnanswered has an endpoint take a request and close without an answer, on a new connection and on a
// used one. A GET is tried elsewhere; a POST never, as nobody knows what it did.
func TestHeardButUnanswered(t *testing.T) {
	var heard, answeredElsewhere atomic.Int64
	mute := rawServer(t, func(c net.Conn, br *bufio.Reader) {
		if _, err := http.ReadRequest(br); err == nil {
			heard.Add(1)
		}
	})
	other := backendServer(t, func(w http.ResponseWriter, r *http.Request) { answeredElsewhere.Add(1) })
	f := serveRouter(t, Options{}, mute, endpoint(other))
	const rounds = 10
	for range rounds {
		if resp, _ := f.get(t, "/"); resp.StatusCode != 200 {
			t.Errorf("GET: %d", resp.StatusCode)
		}
	}
	heard.Store(0)
	answeredElsewhere.Store(0)
	failed := int64(0)
	for range rounds {
		if resp, _ := f.do(t, f.request(t, "POST", "/", strings.NewReader("x"))); resp.StatusCode == 502 {
			failed++
		}
	}
	if heard.Load() != failed || heard.Load()+answeredElsewhere.Load() != rounds || failed == 0 {
		t.Errorf("%d of %d POSTs heard, %d answered elsewhere, %d failed", heard.Load(), rounds, answeredElsewhere.Load(), failed)
	}
}

// TestStrangeEndpoints meets what is not HTTP, or breaks off, or is said unasked.
func TestStrangeEndpoints(t *testing.T) {
	for name, c := range map[string]struct{ says, want string }{
		"not HTTP":     {"SSH-2.0-OpenSSH\r\n\r\n", "502"},
		"endless":      {"HTTP/1.1 200 OK\r\n" + strings.Repeat("X: y\r\n", maxHeader/6+1), "502"},
		"broken off":   {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhal", "EOF"},
		"broken chunk": {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhal", "EOF"},
		"no length":    {"HTTP/1.0 200 OK\r\n\r\nall", "200 all"},
		"no body":      {"HTTP/1.1 204 No Content\r\n\r\n", "204 "},
		"no status":    {"HTTP/1.1 099 Low\r\n\r\n", "502"},
		"switching":    {"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n", "502"},
	} {
		addr := rawServer(t, func(c2 net.Conn, br *bufio.Reader) {
			if _, err := http.ReadRequest(br); err == nil {
				fmt.Fprint(c2, c.says)
			}
		})
		f := serveRouter(t, Options{}, addr)
		got := ""
		resp, err := f.client.Do(f.request(t, "GET", "/", nil))
		if err == nil {
			var body []byte
			body, err = io.ReadAll(resp.Body)
			got = fmt.Sprint(resp.StatusCode, " ", string(body))
			resp.Body.Close()
		}
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// TestUnasked has an endpoint say something on an idle connection, which the next client must not hear.
func TestUnasked(t *testing.T) {
	said := make(chan struct{}, 10)
	addr := rawServer(t, func(c net.Conn, br *bufio.Reader) {
		for {
			if _, err := http.ReadRequest(br); err != nil {
				return
			}
			fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			time.AfterFunc(time.Millisecond, func() {
				fmt.Fprint(c, "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
				said <- struct{}{}
			})
		}
	})
	f := serveRouter(t, Options{}, addr)
	for range 5 {
		if resp, body := f.get(t, "/"); resp.StatusCode != 200 || body != "ok" {
			t.Errorf("%d %s", resp.StatusCode, body)
		}
		<-said
	}
}

// TestPatience lets a request wait for an endpoint, and not for ever.
func TestPatience(t *testing.T) {
	s := backendServer(t, ok)
	f := serveRouter(t, Options{Patience: time.Minute}, netip.MustParseAddrPort("127.0.0.1:1"))
	got := make(chan int)
	go func() {
		resp, err := f.client.Do(f.request(t, "POST", "/", strings.NewReader("x")))
		if err != nil {
			t.Error(err)
			got <- 0
			return
		}
		resp.Body.Close()
		got <- resp.StatusCode
	}()
	eventually(t, "the endpoint refuses", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.upstreams[netip.MustParseAddrPort("127.0.0.1:1")].downUntil.Load() > 0
	})
	f.SetRoutes(routesTo(endpoint(s)))
	if status := <-got; status != 200 {
		t.Errorf("the request that waited got %d", status)
	}
	f.opts.Patience = time.Millisecond
	f.SetRoutes(routesTo())
	if resp, _ := f.get(t, "/"); resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" {
		t.Errorf("no endpoint: %d", resp.StatusCode)
	}
}

// TestStop ends Serve under load on one listener and starts the next on the same socket, as a restart of the daemon
// does. Requests in flight finish, and keep-alive clients move over.
func TestStop(t *testing.T) {
	s := backendServer(t, ok)
	shared, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer shared.Close()
	f := &front{addr: shared.Addr().String(), client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 100}}}
	defer f.client.CloseIdleConnections()
	start := func() (stop func()) {
		file, err := shared.(*net.TCPListener).File() // the same socket again, as the keeper gives it
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		l, err := net.FileListener(file)
		if err != nil {
			t.Fatal(err)
		}
		r := New(Options{})
		r.SetRoutes(routesTo(endpoint(s)))
		ctx, cancel := context.WithCancel(context.Background())
		served := make(chan error, 1)
		go func() { served <- r.Serve(ctx, l) }()
		return func() {
			cancel()
			if err := <-served; err != nil {
				t.Error(err)
			}
			r.SetRoutes(nil)
		}
	}
	stop := start()
	posts := startLoad(t, f, "POST")
	for range 3 {
		posts.more(t, 200)
		stop()
		stop = start()
	}
	posts.more(t, 200)
	posts.end(t)
	stop()
}

// TestGrace ends Serve while one request hangs and one connection is upgraded: neither may hold it for ever.
func TestGrace(t *testing.T) {
	entered := make(chan struct{}, 2)
	addr := rawServer(t, func(c net.Conn, br *bufio.Reader) {
		req, err := http.ReadRequest(br)
		if err != nil {
			return
		}
		if req.URL.Path == "/upgrade" {
			fmt.Fprint(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		}
		entered <- struct{}{}
		_, _ = io.Copy(c, br) // until the router hangs up
	})
	f := serveRouter(t, Options{Grace: 50 * time.Millisecond}, addr)
	failed := make(chan error)
	go func() {
		resp, err := f.client.Do(f.request(t, "GET", "/hang", nil))
		if err == nil {
			resp.Body.Close()
		}
		failed <- err
	}()
	c, err := net.Dial("tcp", f.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "GET /upgrade HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nhello", testHost)
	br := bufio.NewReader(c)
	if _, err := http.ReadResponse(br, nil); err != nil {
		t.Fatal(err)
	}
	hello := make([]byte, 5)
	if _, err := io.ReadFull(br, hello); err != nil || string(hello) != "hello" {
		t.Fatalf("what was sent with the upgrade came back as %q, %v", hello, err)
	}
	<-entered
	<-entered
	f.stop()
	if err := <-failed; err == nil {
		t.Error("the hanging request got an answer")
	}
	if _, err := br.ReadByte(); err == nil {
		t.Error("the upgraded connection is still open")
	}
}
