package forward

import (
	"cmp"
	"io"
	"net"
	"net/url"
	"strconv"
	"strings"

	"naru/naru"
)

// Open reads a destination and returns its receiver, which connects when there is something to send: stdout for lines
// of JSON on w, syslog+unix:///dev/log, syslog+udp://HOST[:514], syslog+tcp://HOST[:601], or
// otlp+http://HOST[:4318][/PATH] and the same with https.
func Open(destination string, w io.Writer) (Receiver, error) {
	if destination == "stdout" {
		return newLines(w), nil
	}
	u, err := url.Parse(destination)
	if err != nil {
		return nil, unknown(destination)
	}
	onHost := u.Hostname() != "" && isPort(u.Port()) && u.User == nil && u.RawQuery == "" && u.Fragment == ""
	onlyHost := onHost && strings.Trim(u.Path, "/") == ""
	switch {
	case u.Scheme == "syslog+unix" && u.Host == "" && u.Path != "":
		return newSyslog("unixgram", u.Path), nil
	case u.Scheme == "syslog+udp" && onlyHost:
		return newSyslog("udp", hostPort(u, "514")), nil
	case u.Scheme == "syslog+tcp" && onlyHost:
		return newSyslog("tcp", hostPort(u, "601")), nil
	case (u.Scheme == "otlp+http" || u.Scheme == "otlp+https") && onHost:
		u.Scheme, u.Host = strings.TrimPrefix(u.Scheme, "otlp+"), hostPort(u, "4318")
		if onlyHost {
			u.Path = "/v1/logs"
		}
		return newOTLP(u.String()), nil
	}
	return nil, unknown(destination)
}

// isPort reports whether s is a port, or nothing: then the protocol has one.
func isPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return s == "" || err == nil && n > 0
}

func hostPort(u *url.URL, port string) string {
	return net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), port))
}

func unknown(destination string) error {
	return naru.Errorf(naru.InvalidArgument, "logs cannot be forwarded to %q: write stdout, syslog+unix:///dev/log, syslog+udp://HOST, syslog+tcp://HOST, otlp+http://HOST or otlp+https://HOST", destination)
}
