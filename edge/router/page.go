package router

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// explain says in plain words what a status of the router's own means. It tells nothing about other hosts.
func explain(status int) string {
	switch status {
	case http.StatusNotFound:
		return "Nothing is served at this address."
	case http.StatusBadGateway:
		return "The app did not answer. Please try again."
	case http.StatusServiceUnavailable:
		return "The app is not running at the moment. Please try again soon."
	default:
		return "The request cannot be served."
	}
}

const page = `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>%[1]d %[2]s</title>
<style>:root{color-scheme:light dark}body{margin:0;min-height:100vh;display:grid;place-content:center;text-align:center;padding:1rem;
font:17px/1.5 system-ui,sans-serif;background:light-dark(#f6f4ef,#14171a);color:light-dark(#1d2329,#e9e6df)}h1{margin:0;font-size:3rem;font-weight:600}
p{margin:.4rem 0;color:light-dark(#6a7178,#9aa0a6)}</style><h1>%[1]d</h1><p>%[3]s</p></html>
`

// fail answers in the router's own name: a page for browsers, a line for programs.
func (x *exchange) fail(status int) {
	text, kind := explain(status)+"\n", "text/plain; charset=utf-8"
	if strings.Contains(x.req.Header.Get("Accept"), "text/html") {
		text, kind = fmt.Sprintf(page, status, http.StatusText(status), explain(status)), "text/html; charset=utf-8"
	}
	h := x.w.Header()
	h.Set("Content-Type", kind)
	h.Set("Content-Length", strconv.Itoa(len(text)))
	h.Set("Cache-Control", "no-store")
	if status == http.StatusServiceUnavailable {
		h.Set("Retry-After", "1")
	}
	if !x.buffered {
		h.Set("Connection", "close") // what is left of the body must not be taken for a request
	}
	x.w.WriteHeader(status)
	_, _ = x.w.Write([]byte(text)) // a client that went away reads no page
}
