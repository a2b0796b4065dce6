package source

import (
	"fmt"
	"path"
	"regexp"
	"strings"

	"naru/naru"
)

var hostName = regexp.MustCompile(`^([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// parseRoute reads "/path", "host" or "host/path".
func parseRoute(s string) (naru.RouteSpec, error) {
	if scheme, rest, ok := strings.Cut(s, "://"); ok {
		return naru.RouteSpec{}, fmt.Errorf("route %q: leave %s:// away: %q", s, scheme, rest)
	}
	host, prefix, _ := strings.Cut(s, "/")
	route := naru.RouteSpec{Host: strings.ToLower(strings.TrimSuffix(host, ".")), Path: "/" + prefix}
	switch {
	case s == "":
		return route, fmt.Errorf(`a route must be "/path" or "host/path"`)
	case strings.Contains(host, "*"):
		return route, fmt.Errorf("route %q: hosts with * are not supported: list each host", s)
	case strings.Contains(host, ":"):
		return route, fmt.Errorf("route %q: leave the port away: a route holds on every port of the router", s)
	case route.Host != "" && (len(route.Host) > 253 || !hostName.MatchString(route.Host)):
		return route, fmt.Errorf("route %q: %q is not a host name; a path must begin with /", s, host)
	case strings.ContainsAny(prefix, "?#*{} \t\r\n\\"):
		return route, fmt.Errorf("route %q: a path is a plain prefix, without ? # * { } or spaces", s)
	}
	clean := path.Clean(route.Path)
	if clean != strings.TrimSuffix(route.Path, "/") && route.Path != "/" {
		return route, fmt.Errorf("route %q: write the path as %q", s, clean)
	}
	route.Path = clean
	return route, nil
}

// inferRoute gives the app's own host to the service that is plainly meant when none says a route: the one named web,
// or else the only one that listens. said holds the services that spoke of routes, be it to have none.
func inferRoute(services []naru.ServiceSpec, said map[naru.ServiceName]bool) {
	var web, listener *naru.ServiceSpec
	listeners := 0
	for i := range services {
		s := &services[i]
		if said[s.Name] {
			return
		}
		if s.Name == webService {
			web = s
		}
		if s.Port != 0 {
			listener, listeners = s, listeners+1
		}
	}
	if web == nil && listeners == 1 {
		web = listener
	}
	if web != nil {
		web.Routes = []naru.RouteSpec{{Path: "/"}}
	}
}

// webService is the process type that gets requests by convention; webPort where it listens when nothing says so.
const (
	webService = naru.ServiceName("web")
	webPort    = 8080
)

// defaultGoPorts gives a routed Go build its port: the image that naru makes of it has no EXPOSE to ask.
func defaultGoPorts(services []naru.ServiceSpec) {
	for i := range services {
		s := &services[i]
		if s.Port == 0 && len(s.Routes) > 0 && s.Build != nil && s.Build.Kind == naru.BuildGo {
			s.Port = webPort
		}
	}
}
