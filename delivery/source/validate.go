package source

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"naru/naru"
)

// validate checks what no single key can be blamed for in reading: names, and what services claim from each other.
func (c *converter) validate(app naru.AppSpec) {
	services := make(map[naru.ServiceName]naru.ServiceSpec, len(app.Services))
	for _, s := range app.Services {
		if err := s.Name.Validate(); err != nil {
			c.invalid(c.at(string(s.Name)), "%s", err)
		}
		services[s.Name] = s
	}
	c.checkRoutes(app)
	c.checkPorts(app)
	if cycle := findCycle(services); len(cycle) > 0 {
		c.invalid(c.at(cycle[0], "depends_on"), "services depend on each other in a circle: %s", strings.Join(cycle, " -> "))
	}
}

// checkRoutes finds two services that claim the same requests.
func (c *converter) checkRoutes(app naru.AppSpec) {
	owner := make(map[naru.RouteSpec]naru.ServiceName)
	for _, s := range app.Services {
		for _, route := range s.Routes {
			if first, taken := owner[route]; taken {
				c.invalid(c.at(string(s.Name), extensionKey), "route %s%s is already that of service %s", route.Host, route.Path, first)
			}
			owner[route] = s.Name
		}
	}
}

// checkPorts finds two services that claim the same port of the host. The unspecified address claims it on every one.
func (c *converter) checkPorts(app naru.AppSpec) {
	type claim struct {
		port    naru.PublishedPort
		service naru.ServiceName
	}
	var claims []claim
	for _, s := range app.Services {
		for _, port := range s.Ports {
			for _, other := range claims {
				if clash(port, other.port) {
					c.invalid(c.at(string(s.Name), "ports"), "port %d/%s of the host is already published by service %s", port.HostPort, port.Protocol, other.service)
				}
			}
			claims = append(claims, claim{port, s.Name})
		}
	}
}

func clash(a, b naru.PublishedPort) bool {
	everywhere := func(ip netip.Addr) bool { return !ip.IsValid() || ip.IsUnspecified() }
	return a.HostPort == b.HostPort && a.Protocol == b.Protocol &&
		(a.HostIP == b.HostIP || everywhere(a.HostIP) || everywhere(b.HostIP))
}

func comparePorts(a, b naru.PublishedPort) int {
	return cmp.Or(cmp.Compare(a.HostPort, b.HostPort), cmp.Compare(a.Protocol, b.Protocol), a.HostIP.Compare(b.HostIP), cmp.Compare(a.Port, b.Port))
}

// findCycle returns the services of a circle of dependencies, the first one again at the end, or nil.
func findCycle(services map[naru.ServiceName]naru.ServiceSpec) []string {
	done := make(map[naru.ServiceName]bool)
	var visit func(name naru.ServiceName, path []string) []string
	visit = func(name naru.ServiceName, path []string) []string {
		if i := slices.Index(path, string(name)); i >= 0 {
			return append(path[i:], string(name))
		}
		if done[name] {
			return nil
		}
		done[name] = true
		for _, next := range services[name].DependsOn {
			if cycle := visit(next, append(path, string(name))); cycle != nil {
				return cycle
			}
		}
		return nil
	}
	for _, name := range sortedNames(services) {
		if cycle := visit(name, nil); cycle != nil {
			return cycle
		}
	}
	return nil
}

func sortedNames(services map[naru.ServiceName]naru.ServiceSpec) []naru.ServiceName {
	names := make([]naru.ServiceName, 0, len(services))
	for name := range services {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// checkSpec validates an inferred app, whose only names are those of Procfile lines.
func checkSpec(app naru.AppSpec) error {
	for _, s := range app.Services {
		if err := s.Name.Validate(); err != nil {
			return fmt.Errorf("check the app: %w", err)
		}
	}
	return nil
}
