package router

import (
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"
)

// answer gives the client the response, and reports whether the connection can carry another request. A body that
// breaks off is broken off towards the client too: it must not take half for all.
func (x *exchange) answer(c *conn, resp *http.Response) (reusable bool) {
	h := x.w.Header()
	copyHeader(h, resp.Header)
	if length := resp.Header["Content-Length"]; length != nil && resp.ContentLength >= 0 {
		h["Content-Length"] = length
	}
	if h["Content-Type"] == nil {
		h["Content-Type"] = nil // the endpoint does not say; the server is not to guess
	}
	announced := len(resp.Trailer)
	if announced > 0 {
		h["Trailer"] = slices.Sorted(maps.Keys(resp.Trailer))
	}
	x.w.WriteHeader(resp.StatusCode)
	if err := x.copyBody(c, resp); err != nil {
		if x.req.Context().Err() == nil {
			x.router.opts.Log.Warn("response broke off", "host", x.req.Host, "error", err)
		}
		panic(http.ErrAbortHandler)
	}
	x.copyTrailer(resp, announced)
	return !resp.Close && c.br.Buffered() == 0
}

// copyHeader sets what concerns the client.
func copyHeader(to, from http.Header) {
	named := from["Connection"]
	for name, values := range from {
		if !slices.Contains(hopByHop, name) && !listed(named, name) {
			to[name] = values
		}
	}
}

// copyBody sends on each piece as it comes, but gathers what has already come: it flushes when the next read might
// wait. That serves event streams and bulk alike, without being told which is which.
func (x *exchange) copyBody(c *conn, resp *http.Response) error {
	if resp.Body == http.NoBody {
		return nil
	}
	buffer := x.router.buffers.Get().(*[]byte)
	defer x.router.buffers.Put(buffer)
	left := resp.ContentLength
	for {
		if c.br.Buffered() == 0 {
			x.flush()
		}
		n, err := resp.Body.Read(*buffer)
		if n > 0 {
			if _, err := x.w.Write((*buffer)[:n]); err != nil {
				return err
			}
			left -= int64(n)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if left == 0 {
			return nil
		}
	}
}

func (x *exchange) flush() {
	if f, ok := x.w.(http.Flusher); ok {
		f.Flush()
	}
}

// copyTrailer sends what followed the body. Names that were not announced before it are sent all the same.
func (x *exchange) copyTrailer(resp *http.Response, announced int) {
	if len(resp.Trailer) == 0 {
		return
	}
	prefix := ""
	if len(resp.Trailer) != announced {
		prefix = http.TrailerPrefix
	}
	for name, values := range resp.Trailer {
		x.w.Header()[prefix+name] = values
	}
}
