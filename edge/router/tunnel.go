package router

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
)

// tunnels are the upgraded connections, which the HTTP server no longer knows of.
type tunnels struct {
	mu   sync.Mutex
	open map[net.Conn]struct{}
	idle chan struct{} // closed when the last one ends; nil when nobody waits
}

func (t *tunnels) add(c net.Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.open == nil {
		t.open = make(map[net.Conn]struct{})
	}
	t.open[c] = struct{}{}
}

func (t *tunnels) remove(c net.Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.open, c)
	if len(t.open) == 0 && t.idle != nil {
		close(t.idle)
		t.idle = nil
	}
}

// wait returns when none is open.
func (t *tunnels) wait() {
	t.mu.Lock()
	if len(t.open) == 0 {
		t.mu.Unlock()
		return
	}
	idle := make(chan struct{})
	t.idle = idle
	t.mu.Unlock()
	<-idle
}

func (t *tunnels) closeAll() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for c := range t.open {
		_ = c.Close()
	}
}

// tunnel joins the client's connection with the endpoint's after a 101, until both sides have ended.
func (x *exchange) tunnel(c *conn, resp *http.Response) error {
	h := x.w.Header()
	copyHeader(h, resp.Header)
	h.Set("Connection", "Upgrade")
	h.Set("Upgrade", resp.Header.Get("Upgrade"))
	client, buffered, err := http.NewResponseController(x.w).Hijack()
	if err != nil {
		return fmt.Errorf("take over the client's connection: %w", err)
	}
	defer func() { _ = client.Close() }()
	x.router.tunnels.add(client)
	defer x.router.tunnels.remove(client)
	writeAll(buffered.Writer, "HTTP/1.1 101 Switching Protocols\r\n")
	_ = h.Write(buffered) // Flush tells
	writeAll(buffered.Writer, "\r\n")
	if err := buffered.Flush(); err != nil {
		return fmt.Errorf("switch protocols: %w", err)
	}
	relay(client, buffered, c)
	return nil
}

// relay copies both ways. An end on one side is passed on as such, and the other direction goes on: only the failure
// of one ends the other.
func relay(client net.Conn, buffered io.Reader, c *conn) {
	var up sync.WaitGroup
	up.Go(func() { pass(c.tcp, buffered, client, c.tcp) })
	pass(client, c.br, client, c.tcp)
	up.Wait()
}

func pass(to net.Conn, from io.Reader, client, upstream net.Conn) {
	_, err := io.Copy(to, from)
	if half, ok := to.(interface{ CloseWrite() error }); ok && err == nil {
		err = half.CloseWrite()
	}
	if err != nil {
		_, _ = client.Close(), upstream.Close()
	}
}
