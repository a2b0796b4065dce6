package engine

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"naru/engine/network"
	"naru/naru"
)

// CheckPorts returns a Conflict that names the holder when one of the host's ports cannot be published.
func (e *Engine) CheckPorts(ports []naru.PublishedPort) error { return e.checkPorts("", ports) }

// checkPorts is CheckPorts for a container, which does not stand in its own way.
func (e *Engine) checkPorts(id string, ports []naru.PublishedPort) error {
	for _, p := range ports {
		if holder := e.publisher(id, p); holder != "" {
			return naru.Errorf(naru.Conflict, "port %d/%s of the host is taken by %s", p.HostPort, p.Protocol, holder)
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
		if other.c.ID != id && other.c.State == Running && slices.ContainsFunc(other.c.Spec.Ports, p.Overlaps) {
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
	img, err := e.cfg.Images.Get(ctx, image)
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

// RemoveVolume deletes a named volume that no container uses.
func (e *Engine) RemoveVolume(name string) error {
	e.mu.Lock()
	for _, en := range e.containers {
		if slices.ContainsFunc(en.c.Spec.Mounts, func(m Mount) bool { return m.Volume == name }) {
			e.mu.Unlock()
			return naru.Errorf(naru.FailedPrecondition, "volume %s is used by container %s: remove that first", name, en.c.Name)
		}
	}
	e.mu.Unlock()
	return e.volumes.Remove(name)
}

func publications(c Container) []network.Publication {
	var out []network.Publication
	for _, p := range c.Spec.Ports {
		out = append(out, network.Publication{HostIP: p.HostIP, HostPort: p.HostPort, Protocol: p.Protocol,
			Backends: []netip.AddrPort{netip.AddrPortFrom(c.Addr, p.Port)}})
	}
	return out
}
