package peer

import (
	"context"

	"golang.org/x/sync/errgroup"

	"naru/naru"
)

// Spec says what container to start; all else is the engine's default.
type Spec struct {
	Image   string
	Command []string
	Ports   []uint16 // of TCP, published under their own number
}

func (s Spec) ports() []naru.PublishedPort {
	ports := make([]naru.PublishedPort, len(s.Ports))
	for i, p := range s.Ports {
		ports[i] = naru.PublishedPort{HostPort: p, Port: p, Protocol: "tcp"}
	}
	return ports
}

// remover is an engine that is to be emptied.
type remover interface {
	Remove(ctx context.Context, id string) error
}

// removeAll removes containers, a few at once.
func removeAll(ctx context.Context, from remover, ids []string) error {
	var group errgroup.Group
	group.SetLimit(8)
	for _, id := range ids {
		group.Go(func() error { return from.Remove(ctx, id) })
	}
	return group.Wait()
}
