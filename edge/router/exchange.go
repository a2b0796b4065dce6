package router

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"sync/atomic"
	"time"
)

// exchange is one request and what is being done about it.
type exchange struct {
	router *Router
	w      http.ResponseWriter
	req    *http.Request

	body      []byte      // the request's, when it is short enough to keep
	buffered  bool        // body holds all of it
	bodySent  atomic.Bool // some of a body that is not kept has been read: it cannot be sent again
	freshOnly bool        // an idle connection proved dead: take a new one
	tried     []*upstream // that failed this request
	deadline  time.Time   // until when to wait for an endpoint; zero: not waiting yet
}

// outcome is how an attempt ended.
type outcome int

const (
	answered outcome = iota // the client has its response, or is gone
	refused                 // no connection: nothing was sent
	stale                   // an idle connection died before the first byte of a response
	lost                    // a new connection did
	broken                  // what came is not HTTP, or not all of it
)

// run tries upstreams until one answers. Each turn of the loop answers, marks one more upstream as tried, or gives up
// idle connections for good, so it ends.
func (x *exchange) run() {
	if x.req.Method == http.MethodConnect {
		x.fail(http.StatusMethodNotAllowed)
		return
	}
	if err := x.keepBody(); err != nil {
		x.fail(http.StatusBadRequest)
		return
	}
	for {
		u, status := x.join()
		if u == nil {
			x.fail(status)
			return
		}
		if x.attempt(u) {
			return
		}
	}
}

// attempt sends the request to u, and reports whether that was the end of it.
func (x *exchange) attempt(u *upstream) (done bool) {
	defer u.leave() // also when the client's connection is aborted by a panic
	result, err := x.try(u)
	if result == answered && err == nil {
		return true
	}
	if x.req.Context().Err() != nil {
		return true // the client is gone, and with it the reason to ask
	}
	x.router.opts.Log.Warn("request failed at endpoint", "endpoint", u.address, "method", x.req.Method, "host", x.req.Host, "error", err)
	switch {
	case result == answered:
		return true
	case result == refused:
		u.refused()
		x.tried = append(x.tried, u)
	case result == stale && x.repeatable():
		x.freshOnly = true
	case result == lost && x.repeatable():
		x.tried = append(x.tried, u)
	default:
		x.fail(http.StatusBadGateway)
		return true
	}
	return false
}

// join finds the upstream to try next and counts the request in. Without one it returns the status that says why.
func (x *exchange) join() (*upstream, int) {
	for {
		t := x.router.table.Load()
		r := t.find(x.req.Host, x.req.URL.Path)
		if r == nil {
			return nil, http.StatusNotFound
		}
		if u := r.choose(x.tried, time.Now().UnixNano()); u != nil {
			if u.join() {
				return u, 0
			}
			continue // it left the table just now: there is a new one
		}
		if !x.await(t) {
			return nil, x.unreachable()
		}
		x.tried = x.tried[:0]
	}
}

func (x *exchange) unreachable() int {
	if len(x.tried) > 0 {
		return http.StatusBadGateway
	}
	return http.StatusServiceUnavailable
}

// await waits for another table, within the patience that a request has in all.
func (x *exchange) await(t *table) bool {
	patience := x.router.opts.Patience
	if patience == 0 || x.router.leaving.Load() {
		return false
	}
	if x.deadline.IsZero() {
		x.deadline = time.Now().Add(patience)
	}
	timer := time.NewTimer(time.Until(x.deadline))
	defer timer.Stop()
	select {
	case <-t.replaced:
		return true
	case <-timer.C:
	case <-x.req.Context().Done():
	}
	return false
}

// repeatable reports whether sending the request a second time does what sending it once does (RFC 9110 section
// 9.2.2), and whether there is all of it to send.
func (x *exchange) repeatable() bool {
	if x.bodySent.Load() {
		return false
	}
	switch x.req.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, http.MethodPut, http.MethodDelete:
		return true
	}
	return x.req.Header["Idempotency-Key"] != nil
}

// surelyOpen is how recently an idle connection must have been used to carry a request that cannot be repeated. An
// endpoint that closes idle connections does so after seconds, and the moment at which it does cannot be seen from
// here: a request that crosses the close is lost, though perhaps not unheard.
const surelyOpen = 200 * time.Millisecond

// connect takes an idle connection or makes one.
func (x *exchange) connect(u *upstream) (*conn, error) {
	maxAge := idleLimit
	if !x.repeatable() {
		maxAge = surelyOpen
	}
	if !x.freshOnly {
		if c := u.take(maxAge); c != nil {
			return c, nil
		}
	}
	return u.dial(x.req.Context())
}

// try has one upstream answer. The connection goes back to the upstream when it can carry another request.
func (x *exchange) try(u *upstream) (outcome, error) {
	c, err := x.connect(u)
	if err != nil {
		return refused, err
	}
	reusable := false
	abort := context.AfterFunc(x.req.Context(), c.abort)
	defer func() {
		if abort() && reusable {
			u.put(c)
		} else {
			c.close()
		}
	}()
	sender, err := x.send(c)
	if err != nil {
		return c.died(), err
	}
	defer sender.finish()
	resp, result, err := x.receive(c, sender)
	if err != nil {
		return result, err
	}
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return answered, x.tunnel(c, resp)
	}
	if !sender.body.ended.Load() {
		x.w.Header().Set("Connection", "close") // what is left of the body must not be taken for a request
	}
	reusable = x.answer(c, resp) && sender.complete()
	return answered, nil
}

// abort ends every read and write on the connection: the client is gone.
func (c *conn) abort() { _ = c.tcp.SetDeadline(time.Unix(1, 0)) }

// died is the outcome of a connection that failed before the first byte of a response.
func (c *conn) died() outcome {
	if c.reused {
		return stale
	}
	return lost
}

// receive reads the response's header, and passes on what informs before it.
func (x *exchange) receive(c *conn, s *sender) (*http.Response, outcome, error) {
	c.boundHeader()
	if _, err := c.br.Peek(1); err != nil {
		if err == io.EOF {
			err = errors.New("it closed the connection without an answer")
		}
		return nil, c.died(), err
	}
	for {
		resp, err := http.ReadResponse(c.br, x.req)
		if err != nil {
			return nil, broken, err
		}
		switch {
		case resp.StatusCode < 100:
			return nil, broken, errors.New("its status is not one of HTTP")
		case resp.StatusCode == http.StatusContinue:
			s.proceed()
		case resp.StatusCode < 200 && resp.StatusCode != http.StatusSwitchingProtocols:
			x.inform(resp)
		case resp.StatusCode == http.StatusSwitchingProtocols && !x.agrees(resp):
			return nil, broken, errors.New("it switches to a protocol that nobody asked for")
		default:
			c.unbound()
			return resp, answered, nil
		}
	}
}

// inform passes on an interim response, 103 Early Hints for example. HTTP/1.0 has none.
func (x *exchange) inform(resp *http.Response) {
	if !x.req.ProtoAtLeast(1, 1) {
		return
	}
	h := x.w.Header()
	copyHeader(h, resp.Header)
	x.w.WriteHeader(resp.StatusCode)
	for name := range resp.Header {
		if !slices.Contains(hopByHop, name) {
			delete(h, name)
		}
	}
}
