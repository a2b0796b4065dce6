package router

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// upstream is an endpoint: its requests in flight and its idle connections.
type upstream struct {
	addr    netip.AddrPort
	address string
	dialer  *net.Dialer

	inflight  atomic.Int64
	retired   atomic.Bool  // it is in no table
	downUntil atomic.Int64 // Unix nanoseconds: it refused a connection, and is passed over until then

	mu      sync.Mutex
	idle    []*conn         // the last used at the end
	waiters []chan struct{} // closed when nothing is in flight
}

// maxIdle bounds an upstream's idle connections, and idleLimit their age: an endpoint's own limit is mostly longer.
const (
	maxIdle   = 256
	idleLimit = 30 * time.Second
)

// join counts a request in, unless the upstream has left the table. The count goes up before the look at the table
// and Drain looks at the count after the table has changed, so one of the two always sees the other.
func (u *upstream) join() bool {
	u.inflight.Add(1)
	if u.retired.Load() {
		u.leave()
		return false
	}
	return true
}

// leave counts a request out, and tells those who wait when it was the last.
func (u *upstream) leave() {
	if u.inflight.Add(-1) > 0 {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.inflight.Load() > 0 {
		return
	}
	for _, done := range u.waiters {
		close(done)
	}
	u.waiters = nil
}

// wait returns when nothing is in flight.
func (u *upstream) wait(ctx context.Context) error {
	u.mu.Lock()
	if u.inflight.Load() == 0 {
		u.mu.Unlock()
		return nil
	}
	done := make(chan struct{})
	u.waiters = append(u.waiters, done)
	u.mu.Unlock()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// retire closes what is idle; what is in use is closed when it comes back.
func (u *upstream) retire() {
	u.retired.Store(true)
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, c := range u.idle {
		c.close()
	}
	u.idle = nil
}

func (u *upstream) revive() {
	u.retired.Store(false)
	u.downUntil.Store(0)
}

// refused notes that a connection failed, so that other requests need not find out for themselves.
func (u *upstream) refused() {
	u.downUntil.Store(time.Now().Add(passOver).UnixNano())
}

// isDown reports whether it is to be passed over at a time, in Unix nanoseconds. A time further away than it is ever
// passed over for is from before the clock was set back.
func (u *upstream) isDown(now int64) bool {
	left := u.downUntil.Load() - now
	return left > 0 && left <= int64(passOver)
}

// take returns an idle connection that was used within maxAge and is still good, or nil.
func (u *upstream) take(maxAge time.Duration) *conn {
	for {
		c := u.pop()
		if c == nil {
			return nil
		}
		if time.Since(c.idleSince) < maxAge && c.quiet() {
			return c
		}
		c.close()
	}
}

func (u *upstream) pop() *conn {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.idle) == 0 {
		return nil
	}
	last := len(u.idle) - 1
	c := u.idle[last]
	u.idle[last] = nil
	u.idle = u.idle[:last]
	return c
}

// put keeps a connection for the next request, or closes it.
func (u *upstream) put(c *conn) {
	c.idleSince = time.Now()
	c.reused = true
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.retired.Load() || len(u.idle) >= maxIdle {
		c.close()
		return
	}
	u.idle = append(u.idle, c)
}

// dial makes a new connection.
func (u *upstream) dial(ctx context.Context) (*conn, error) {
	nc, err := u.dialer.DialContext(ctx, "tcp", u.address)
	if err != nil {
		return nil, err
	}
	return newConn(nc.(*net.TCPConn))
}
