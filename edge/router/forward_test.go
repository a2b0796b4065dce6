package router

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/netip"
	"net/textproto"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/websocket"
)

// TestHeaders looks at what an endpoint gets to see, and at what comes back.
func TestHeaders(t *testing.T) {
	var seen http.Header
	var uri, host string
	s := backendServer(t, func(w http.ResponseWriter, r *http.Request) {
		seen, uri, host = r.Header.Clone(), r.RequestURI, r.Host
		h := w.Header()
		h["X-Multi"] = []string{"1", "2"}
		h.Set("Connection", "X-Hop")
		h.Set("X-Hop", "gone")
		h.Set("Keep-Alive", "timeout=5")
		h["Content-Type"] = nil
		fmt.Fprint(w, "<html>")
	})
	f := serveRouter(t, Options{}, endpoint(s))
	req := f.request(t, "GET", "/a%2Fb/./c?x=%20&y", nil)
	for name, value := range map[string]string{
		"X-Forwarded-For": "6.6.6.6", "X-Forwarded-Port": "1", "Forwarded": "for=6.6.6.6", "X-Real-Ip": "6.6.6.6",
		"Connection": "X-Mine, close", "X-Mine": "gone", "Proxy-Authorization": "secret", "Te": "trailers, deflate",
		"X-Kept": "kept", "Upgrade": "h2c", "X-Forwarded-Host": "evil",
	} {
		req.Header.Set(name, value)
	}
	resp, body := f.do(t, req)
	if uri != "/a%2Fb/./c?x=%20&y" || host != testHost || body != "<html>" {
		t.Errorf("the endpoint saw %s of %s, the client %q", uri, host, body)
	}
	delete(seen, "User-Agent")
	want := http.Header{
		"X-Forwarded-For": {"127.0.0.1"}, "X-Forwarded-Host": {testHost}, "X-Forwarded-Proto": {"http"},
		"X-Kept": {"kept"}, "Te": {"trailers"},
	}
	if !maps.EqualFunc(seen, want, slices.Equal) {
		t.Errorf("the endpoint saw %v, want %v", seen, want)
	}
	if h := resp.Header; !slices.Equal(h["X-Multi"], []string{"1", "2"}) || h["X-Hop"] != nil || h["Keep-Alive"] != nil || h["Content-Type"] != nil {
		t.Errorf("the client saw %v", h)
	}
}

func TestPages(t *testing.T) {
	f := serveRouter(t, Options{})
	for _, c := range []struct {
		host, accept string
		status       int
		text, kind   string
	}{
		{"other.example", "", 404, "Nothing is served", "text/plain; charset=utf-8"},
		{testHost, "", 503, "not running", "text/plain; charset=utf-8"},
		{testHost, "text/html,*/*", 503, "<h1>503</h1>", "text/html; charset=utf-8"},
	} {
		req := f.request(t, "GET", "/", nil)
		req.Host = c.host
		req.Header.Set("Accept", c.accept)
		resp, body := f.do(t, req)
		if resp.StatusCode != c.status || !strings.Contains(body, c.text) || resp.Header.Get("Content-Type") != c.kind {
			t.Errorf("%s: %d %s %q", c.host, resp.StatusCode, resp.Header.Get("Content-Type"), body)
		}
		if c.host != testHost && strings.Contains(body, testHost) {
			t.Error("the page of an unknown host names another")
		}
	}
	f.SetRoutes(routesTo(netip.MustParseAddrPort("127.0.0.1:1")))
	if resp, body := f.get(t, "/"); resp.StatusCode != 502 {
		t.Errorf("an endpoint that refuses: %d %s", resp.StatusCode, body)
	}
}

// TestStreaming reads an event before the endpoint goes on to the next.
func TestStreaming(t *testing.T) {
	goOn := make(chan struct{})
	s := backendServer(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		w.WriteHeader(http.StatusOK)
		w.(http.Flusher).Flush()
		for i := range 3 {
			<-goOn
			fmt.Fprintf(w, "data: %d\n\n", i)
			w.(http.Flusher).Flush()
		}
	})
	f := serveRouter(t, Options{}, endpoint(s))
	resp, err := f.client.Do(f.request(t, "GET", "/", nil)) // returns with the header, before any event
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewReader(resp.Body)
	for i := range 3 {
		goOn <- struct{}{}
		line, err := lines.ReadString('\n')
		if err != nil || line != fmt.Sprintf("data: %d\n", i) {
			t.Fatalf("event %d: %q, %v", i, line, err)
		}
		_, _ = lines.ReadString('\n')
	}
}

// TestBodies sends bodies of many sizes, with and without a length, and a trailer after them.
func TestBodies(t *testing.T) {
	s := backendServer(t, func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex() // or net/http reads the body itself when the echo begins
		w.Header().Set("Trailer", "X-After")
		n, err := io.Copy(w, r.Body)
		w.Header().Set("X-After", fmt.Sprint(n, err, r.ContentLength, r.Trailer.Get("X-Sum")))
	})
	f := serveRouter(t, Options{}, endpoint(s))
	for _, size := range []int{1, 100, keepLimit, keepLimit + 1, 1 << 20} {
		for _, length := range []int{size, -1} {
			sent := bytes.Repeat([]byte("0123456789abcdef"), size/16+1)[:size]
			req := f.request(t, "POST", "/", io.MultiReader(bytes.NewReader(sent)))
			req.ContentLength = int64(length)
			sum := ""
			if length < 0 {
				sum = "sum"
				req.Trailer = http.Header{"X-Sum": {sum}}
			}
			resp, body := f.do(t, req)
			if want := fmt.Sprint(size, nil, length, sum); body != string(sent) || resp.Trailer.Get("X-After") != want {
				t.Errorf("size %d, length %d: got %d bytes, trailer %q, want %q", size, length, len(body), resp.Trailer.Get("X-After"), want)
			}
		}
	}
	if n := f.inflight(endpoint(s)); n != 0 {
		t.Errorf("%d in flight", n)
	}
}

func TestContinue(t *testing.T) {
	s := backendServer(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/no" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		n, _ := io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, n)
	})
	f := serveRouter(t, Options{}, endpoint(s))
	f.client.Transport.(*http.Transport).ExpectContinueTimeout = time.Minute
	for path, want := range map[string]string{"/yes": "200 70000 true", "/no": "401  false"} {
		asked := false
		trace := &httptrace.ClientTrace{Got100Continue: func() { asked = true }}
		req := f.request(t, "PUT", path, strings.NewReader(strings.Repeat("x", 70000)))
		req = req.WithContext(httptrace.WithClientTrace(context.Background(), trace))
		req.Header.Set("Expect", "100-continue")
		resp, body := f.do(t, req)
		if got := fmt.Sprint(resp.StatusCode, " ", body, " ", asked); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}

// TestEarlyAnswer has an endpoint refuse an upload whose client never ends it.
func TestEarlyAnswer(t *testing.T) {
	s := backendServer(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusRequestEntityTooLarge)
	})
	f := serveRouter(t, Options{}, endpoint(s))
	c, err := net.Dial("tcp", f.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: %s\r\nContent-Length: 1000000\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: %s\r\n\r\n", testHost, testHost)
	br := bufio.NewReader(c)
	resp, err := http.ReadResponse(br, nil)
	if err != nil || resp.StatusCode != http.StatusRequestEntityTooLarge || !resp.Close {
		t.Fatalf("%+v, %v", resp, err)
	}
	if rest, err := io.ReadAll(br); err != nil || len(rest) != 0 {
		t.Errorf("after the answer came %q, %v", rest, err)
	}
}

func TestEarlyHints(t *testing.T) {
	s := backendServer(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Del("Link")
		fmt.Fprint(w, "page")
	})
	f := serveRouter(t, Options{}, endpoint(s))
	hint := ""
	trace := &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
		hint = fmt.Sprint(code, h.Get("Link"))
		return nil
	}}
	req := f.request(t, "GET", "/", nil)
	resp, body := f.do(t, req.WithContext(httptrace.WithClientTrace(context.Background(), trace)))
	if hint != "103</style.css>; rel=preload" || body != "page" || resp.Header.Get("Link") != "" {
		t.Errorf("hint %q, body %q, header %v", hint, body, resp.Header)
	}
}

// TestWebSocket talks both ways through the router, drains while it does, and ends from either side.
func TestWebSocket(t *testing.T) {
	s := httptest.NewServer(websocket.Handler(func(c *websocket.Conn) { _, _ = io.Copy(c, c) }))
	t.Cleanup(s.Close)
	f := serveRouter(t, Options{}, endpoint(s))
	config, err := websocket.NewConfig("ws://"+testHost+"/", "http://"+testHost)
	if err != nil {
		t.Fatal(err)
	}
	tcp, err := net.Dial("tcp", f.addr)
	if err != nil {
		t.Fatal(err)
	}
	ws, err := websocket.NewClient(config, tcp)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"hello", strings.Repeat("long ", 100_000)} {
		got := make([]byte, len(text))
		go func() { _, _ = io.WriteString(ws, text) }()
		if n, err := io.ReadFull(ws, got); err != nil || string(got) != text {
			t.Fatalf("got %d bytes back, %v", n, err)
		}
	}
	f.SetRoutes(nil)
	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := f.Drain(short, []netip.AddrPort{endpoint(s)}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("drain of an open connection: %v", err)
	}
	if err := ws.Close(); err != nil {
		t.Error(err)
	}
	if err := f.Drain(t.Context(), []netip.AddrPort{endpoint(s)}); err != nil {
		t.Errorf("drain: %v", err)
	}
}

// TestRequestForms sends what clients rarely do, byte by byte.
func TestRequestForms(t *testing.T) {
	s := backendServer(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s %s", r.Method, r.RequestURI, r.Host)
	})
	f := serveRouter(t, Options{}, endpoint(s))
	for request, want := range map[string]string{
		"GET http://" + testHost + "/p?q HTTP/1.1\r\nHost: other\r\n\r\n":                               "200 GET /p?q " + testHost,
		"GET //double HTTP/1.1\r\nHost: " + testHost + ":81\r\n\r\n":                                    "200 GET //double " + testHost + ":81",
		"GET /old HTTP/1.0\r\nHost: APP.example.\r\n\r\n":                                               "200 GET /old APP.example.",
		"PROPFIND /dav HTTP/1.1\r\nHost: " + testHost + "\r\n\r\n":                                      "200 PROPFIND /dav " + testHost,
		"CONNECT " + testHost + ":22 HTTP/1.1\r\nHost: " + testHost + "\r\n\r\n":                        "405 The request cannot be served.\n",
		"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n":                                                  "400 ",
		"GET / HTTP/1.1\r\n\r\n":                                                                        "400 ",
		"POST / HTTP/1.1\r\nHost: " + testHost + "\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab": "400 ",
		"POST / HTTP/1.1\r\nHost: " + testHost + "\r\nTransfer-Encoding: x, chunked\r\n\r\n0\r\n\r\n":   "501 ",
	} {
		c, err := net.Dial("tcp", f.addr)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(c, request)
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatalf("%q: %v", request, err)
		}
		body, _ := io.ReadAll(resp.Body)
		if got := fmt.Sprint(resp.StatusCode, " ", string(body)); !strings.HasPrefix(got, want) {
			t.Errorf("%q: %q, want %q", request, got, want)
		}
		c.Close()
	}
}

// TestClientLeaves ends a request whose client is gone, so that nothing stays in flight.
func TestClientLeaves(t *testing.T) {
	entered, left := make(chan struct{}), make(chan struct{})
	s := backendServer(t, func(w http.ResponseWriter, r *http.Request) {
		close(entered)
		<-r.Context().Done()
		close(left)
	})
	f := serveRouter(t, Options{}, endpoint(s))
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-entered; cancel() }()
	if _, err := f.client.Do(f.request(t, "GET", "/", nil).WithContext(ctx)); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	<-left
	eventually(t, "nothing is in flight", func() bool { return f.inflight(endpoint(s)) == 0 })
}
