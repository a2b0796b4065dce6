package router

import (
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"testing"
)

// BenchmarkProxy measures the router beside net/http's reverse proxy and the bare endpoint, in one run: small GETs over
// keep-alive connections, from a client that costs little.
func BenchmarkProxy(b *testing.B) {
	backend := httptest.NewServer(http.HandlerFunc(ok))
	defer backend.Close()
	b.Run("direct", func(b *testing.B) { hammer(b, backend.Listener.Addr().String()) })
	b.Run("router", func(b *testing.B) { hammer(b, serveRouter(b, Options{}, endpoint(backend)).addr) })
	b.Run("ReverseProxy", func(b *testing.B) {
		target, err := url.Parse(backend.URL)
		if err != nil {
			b.Fatal(err)
		}
		proxy := httputil.NewSingleHostReverseProxy(target)
		proxy.Transport = &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true}
		proxy.ErrorLog = log.New(io.Discard, "", 0)
		s := httptest.NewServer(proxy)
		defer s.Close()
		hammer(b, s.Listener.Addr().String())
	})
}

// hammer sends b.N requests over parallel connections, reading of each response only as much as there is.
func hammer(b *testing.B, addr string) {
	request := []byte("GET /path HTTP/1.1\r\nHost: " + testHost + "\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n")
	b.SetParallelism(16)
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		var d net.Dialer
		c, err := d.DialContext(context.Background(), "tcp", addr)
		if err != nil {
			b.Error(err)
			return
		}
		defer c.Close()
		buffer := make([]byte, 4096)
		for pb.Next() {
			if _, err := c.Write(request); err != nil {
				b.Error(err)
				return
			}
			if n, err := c.Read(buffer); err != nil || string(buffer[9:12]) != "200" || string(buffer[n-2:n]) != "ok" {
				b.Errorf("%q, %v", buffer[:n], err)
				return
			}
		}
	})
}
