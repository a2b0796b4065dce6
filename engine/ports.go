package engine

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"naru/engine/image"
	"naru/engine/network"
	"naru/naru"
)

// exposedPorts are those that a container which is to publish all has beside the ones it names: at ports of the host
// that are chosen at each start.
func exposedPorts(spec ContainerSpec, img image.Image) []naru.PublishedPort {
	if !spec.PublishAll {
		return nil
	}
	all := spec.Expose
	for _, text := range slices.Sorted(maps.Keys(img.Config.ExposedPorts)) {
		number, protocol, _ := strings.Cut(text, "/")
		if port, err := strconv.ParseUint(number, 10, 16); err == nil && port > 0 { // an image may say anything
			all = append(all, naru.PublishedPort{Port: uint16(port), Protocol: firstOf(protocol, "tcp")})
		}
	}
	var out []naru.PublishedPort
	for _, p := range all {
		same := func(o naru.PublishedPort) bool { return o.Port == p.Port && o.Protocol == p.Protocol }
		if !slices.ContainsFunc(spec.Ports, same) && !slices.ContainsFunc(out, same) {
			out = append(out, p)
		}
	}
	return out
}

// CheckPorts returns a Conflict that names the holder when one of the host's ports cannot be published.
func (e *Engine) CheckPorts(ports []naru.PublishedPort) error { return e.checkPorts("", ports) }

// checkPorts is CheckPorts for a container, which does not stand in its own way.
func (e *Engine) checkPorts(id string, ports []naru.PublishedPort) error {
	for _, p := range ports {
		if holder := e.publisher(id, p); holder != "" {
			return naru.Errorf(naru.Conflict, "port %d/%s of the host is taken by %s", p.HostPort, p.Protocol, holder)
		}
		if err := network.CheckHostAddr(p.HostIP); err != nil {
			return err
		}
		holder, err := network.PortHolder(p.Protocol, p.HostIP, p.HostPort)
		if err != nil {
			return fmt.Errorf("look who holds port %d: %w", p.HostPort, err)
		}
		if holder != "" {
			return naru.Errorf(naru.Conflict, "port %d/%s of the host is taken by %s", p.HostPort, p.Protocol, holder)
		}
	}
	return nil
}

// publisher names the running container, other than id, that publishes the port.
func (e *Engine) publisher(id string, p naru.PublishedPort) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, other := range e.containers {
		if other.c.ID != id && other.c.State == Running && slices.ContainsFunc(other.c.ports(), p.Overlaps) {
			return "container " + other.c.Name
		}
	}
	for key, pubs := range e.published {
		for _, pub := range pubs {
			if id != "" && p.Overlaps(naru.PublishedPort{HostIP: pub.HostIP, HostPort: pub.HostPort, Protocol: pub.Protocol}) {
				return key
			}
		}
	}
	return ""
}

// ExposedPort returns the lowest TCP port that the image says it listens on, or zero.
func (e *Engine) ExposedPort(ctx context.Context, image string) (uint16, error) {
	img, err := e.cfg.Images.Find(ctx, image)
	if err != nil {
		return 0, err
	}
	var lowest uint16
	for exposed := range img.Config.ExposedPorts {
		number, protocol, _ := strings.Cut(exposed, "/")
		n, err := strconv.ParseUint(number, 10, 16)
		if err != nil || (protocol != "" && protocol != "tcp") {
			continue
		}
		if lowest == 0 || uint16(n) < lowest {
			lowest = uint16(n)
		}
	}
	return lowest, nil
}

// ports are those that the container has of the host now. One that an older daemon started has those it asked for.
func (c Container) ports() []naru.PublishedPort {
	if len(c.Ports) == 0 {
		return c.Spec.Ports
	}
	return c.Ports
}

func publications(c Container) []network.Publication {
	at := c.endpoints()
	if len(at) == 0 {
		return nil // disconnected from its last network
	}
	var out []network.Publication
	for _, p := range c.ports() {
		backends := []netip.AddrPort{netip.AddrPortFrom(at[0].Addr, p.Port)}
		if at[0].Addr6.IsValid() {
			backends = append(backends, netip.AddrPortFrom(at[0].Addr6, p.Port))
		}
		out = append(out, network.Publication{HostIP: p.HostIP, HostPort: p.HostPort, Protocol: p.Protocol, Backends: backends})
	}
	return out
}

// choosePorts picks a free port of the host for each port that names none.
func (e *Engine) choosePorts(id string, asked []naru.PublishedPort) ([]naru.PublishedPort, error) {
	chosen := slices.Clone(asked)
	for i, p := range chosen {
		if p.HostPort != 0 {
			continue
		}
		free := func(q naru.PublishedPort) bool {
			return !slices.ContainsFunc(chosen, q.Overlaps) && e.publisher(id, q) == ""
		}
		var err error
		if chosen[i].HostPort, err = freePort(p, free); err != nil {
			return nil, err
		}
	}
	return chosen, nil
}

// portTries bounds how many ports are asked for until one is free in the eyes of naru too.
const portTries = 100

// freePort asks the kernel for ports that nobody has, until one is free.
func freePort(p naru.PublishedPort, free func(naru.PublishedPort) bool) (uint16, error) {
	for range portTries {
		port, err := network.UnusedPort(p.Protocol, p.HostIP)
		if err != nil {
			return 0, fmt.Errorf("find a free port of the host: %w", err)
		}
		if p.HostPort = port; free(p) {
			return port, nil
		}
	}
	return 0, naru.Errorf(naru.FailedPrecondition, "no port of the host was found free for %d/%s: name one", p.Port, p.Protocol)
}
