package router

import (
	"bufio"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// hopByHop are the headers that concern one connection only (RFC 9110 section 7.6.1), and those that frame a message:
// each side of the router frames its own.
var hopByHop = []string{
	"Connection", "Content-Length", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection", "Te",
	"Trailer", "Transfer-Encoding", "Upgrade",
}

// dropped reports whether a client's header stays here: it concerns this hop, or would have the endpoint believe
// things of the client that only the router knows.
func dropped(name string) bool {
	switch name[0] {
	case 'X':
		return strings.HasPrefix(name, "X-Forwarded-") || name == "X-Real-Ip"
	case 'F':
		return name == "Forwarded"
	case 'E':
		return name == "Expect" // said anew when the body waits for it
	case 'H':
		return name == "Host"
	}
	return slices.Contains(hopByHop, name)
}

// writeHead writes the request's line and header for an upstream.
func (x *exchange) writeHead(bw *bufio.Writer) {
	r := x.req
	writeAll(bw, r.Method, " ", target(r), " HTTP/1.1\r\nHost: ", r.Host, "\r\n")
	named := r.Header["Connection"]
	for name, values := range r.Header {
		if name == "" || dropped(name) || listed(named, name) {
			continue
		}
		for _, value := range values {
			writeAll(bw, name, ": ", value, "\r\n")
		}
	}
	writeAll(bw, "X-Forwarded-For: ", clientIP(r), "\r\nX-Forwarded-Host: ", r.Host, "\r\nX-Forwarded-Proto: ", scheme(r), "\r\n")
	if x.upgrades() {
		writeAll(bw, "Connection: Upgrade\r\nUpgrade: ", r.Header.Get("Upgrade"), "\r\n")
	} else if listed(r.Header["Te"], "trailers") {
		writeAll(bw, "Te: trailers\r\n")
	}
	x.writeFraming(bw)
	writeAll(bw, "\r\n")
}

// writeFraming says how long the body is.
func (x *exchange) writeFraming(bw *bufio.Writer) {
	r := x.req
	switch {
	case r.ContentLength > 0 || r.ContentLength == 0 && r.Header["Content-Length"] != nil:
		var digits [20]byte
		writeAll(bw, "Content-Length: ")
		_, _ = bw.Write(strconv.AppendInt(digits[:0], r.ContentLength, 10))
		writeAll(bw, "\r\n")
	case r.ContentLength < 0:
		writeAll(bw, "Transfer-Encoding: chunked\r\n")
		for name := range r.Trailer {
			writeAll(bw, "Trailer: ", name, "\r\n")
		}
	}
	if x.expects() {
		writeAll(bw, "Expect: 100-continue\r\n")
	}
}

// writeAll writes texts one by one. A bufio.Writer remembers its error until Flush.
func writeAll(bw *bufio.Writer, texts ...string) {
	for _, text := range texts {
		_, _ = bw.WriteString(text)
	}
}

// target is the request's in origin form (RFC 9112 section 3.2.1), byte for byte as the client wrote it.
func target(r *http.Request) string {
	if strings.HasPrefix(r.RequestURI, "/") || r.RequestURI == "*" {
		return r.RequestURI
	}
	return r.URL.RequestURI()
}

// listed reports whether a comma-separated header, such as Connection, names a word.
func listed(values []string, word string) bool {
	for _, value := range values {
		for item := range strings.SplitSeq(value, ",") {
			if strings.EqualFold(strings.TrimSpace(item), word) {
				return true
			}
		}
	}
	return false
}

// clientIP is the address of whoever connected to the router.
func clientIP(r *http.Request) string {
	if addr, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		return addr.Addr().Unmap().String()
	}
	host, _, _ := net.SplitHostPort(r.RemoteAddr)
	return host
}

func scheme(r *http.Request) string {
	if r.TLS != nil {
		return "https"
	}
	return "http"
}

// upgrades reports whether the client wants another protocol on the connection. HTTP/2 is not one that is passed on:
// requests inside it would go past the table.
func (x *exchange) upgrades() bool {
	h := x.req.Header
	return h["Upgrade"] != nil && x.buffered && listed(h["Connection"], "Upgrade") && !listed(h["Upgrade"], "h2c")
}

// agrees reports whether a 101 is to the protocol that the client asked for.
func (x *exchange) agrees(resp *http.Response) bool {
	return x.upgrades() && listed(x.req.Header["Upgrade"], resp.Header.Get("Upgrade"))
}

// expects reports whether the client sends its body only when told to, and the body is not yet here.
func (x *exchange) expects() bool {
	return x.req.ContentLength != 0 && !x.buffered && listed(x.req.Header["Expect"], "100-continue")
}
