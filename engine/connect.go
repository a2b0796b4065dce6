package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"naru/engine/network"
	"naru/naru"
)

// ConnectNetwork puts a container on one more network, at once when it runs.
func (e *Engine) ConnectNetwork(ctx context.Context, idOrName string, j Join) error {
	n, err := e.Network(j.Network)
	if err != nil {
		return err
	}
	en, err := e.find(idOrName)
	if err != nil {
		return err
	}
	en.op.Lock()
	defer en.op.Unlock()
	c := e.snapshot(en)
	joins := c.Spec.joins()
	if len(joins) == 0 && c.Spec.Network != NoNetwork {
		return naru.Errorf(naru.FailedPrecondition, "container %s has no network namespace of its own to connect (its network is %s)", c.Name, c.Spec.Network)
	}
	if _, on := c.Spec.joinOn(j.Network); on {
		return naru.Errorf(naru.Conflict, "container %s is on network %s already", c.Name, j.Network)
	}
	c.Spec.setJoins(append(joins, j))
	if err := c.Spec.checkNetwork(); err != nil {
		return err
	}
	if c.State == Running {
		return e.connectRunning(ctx, en, c, n.Network, j)
	}
	return e.save(ctx, en, c)
}

// connectRunning makes the place before it is written down: a crash in between leaves an interface too many, which ends
// with the container, and not a row that promises one.
func (e *Engine) connectRunning(ctx context.Context, en *entry, c Container, n network.Network, j Join) error {
	netns, err := e.openNetNS(en)
	if err != nil {
		return err
	}
	defer closeAll(netns)
	at, led, err := e.holdPlace(c, n, j)
	if err != nil {
		return err
	}
	defer e.releasePlace(c.ID)
	if err := e.bringNetwork(ctx, n); err != nil {
		return err
	}
	if err := e.joinNetwork(ctx, c, at, n, led, netns); err != nil {
		return fmt.Errorf("connect container %s: %w", c.Name, err)
	}
	c.setEndpoints(append(slices.Clone(c.endpoints()), at))
	if err := e.save(ctx, en, c); err != nil {
		return errors.Join(err, e.net.DetachOne(context.WithoutCancel(ctx), c.ID, at.Interface))
	}
	return e.applyChange(ctx)
}

// holdPlace chooses a place for a running container, and keeps others from its address until it is written down.
func (e *Engine) holdPlace(c Container, n network.Network, j Join) (at Endpoint, led bool, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	names := map[string]bool{}
	for _, other := range c.endpoints() {
		names[other.Interface] = true
		led = led || !e.networks[other.Network].Internal
	}
	i := 0
	for names[fmt.Sprintf("eth%d", i)] {
		i++
	}
	if at, err = e.place("", n, j, fmt.Sprintf("eth%d", i)); err != nil {
		return at, led, err
	}
	e.connecting[c.ID] = at.Addr
	return at, led, nil
}

func (e *Engine) releasePlace(id string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.connecting, id)
}

// DisconnectNetwork takes a container off a network, at once when it runs. Its connections there are cut.
func (e *Engine) DisconnectNetwork(ctx context.Context, idOrName, name string) error {
	en, err := e.find(idOrName)
	if err != nil {
		return err
	}
	en.op.Lock()
	defer en.op.Unlock()
	c := e.snapshot(en)
	if _, on := c.Spec.joinOn(name); !on {
		return naru.Errorf(naru.FailedPrecondition, "container %s is not on network %s", c.Name, name)
	}
	c.Spec.setJoins(slices.DeleteFunc(c.Spec.joins(), func(j Join) bool { return j.Network == name }))
	before := c.endpoints()
	i := slices.IndexFunc(before, func(at Endpoint) bool { return at.Network == name })
	if c.State != Running || i < 0 {
		return e.save(ctx, en, c)
	}
	c.setEndpoints(slices.Delete(slices.Clone(before), i, i+1))
	if err := e.save(ctx, en, c); err != nil {
		return err
	}
	ctx = context.WithoutCancel(ctx) // written down, so it is done to the end
	if err := e.applyChange(ctx); err != nil {
		return err
	}
	if err := e.net.DetachOne(ctx, c.ID, before[i].Interface); err != nil {
		return err
	}
	return e.leadAnew(ctx, en, c)
}

// leadAnew makes sure that a container has a way to the world, if any of its networks has one.
func (e *Engine) leadAnew(ctx context.Context, en *entry, c Container) error {
	for _, at := range c.endpoints() {
		n, err := e.Network(at.Network)
		if err != nil || n.Internal {
			continue
		}
		netns, err := e.openNetNS(en)
		if err != nil {
			return err
		}
		defer closeAll(netns)
		return e.net.Lead(ctx, n.Network, at.Interface, netns)
	}
	return nil
}

// Ways reads from the kernel how requests reach a container: one of its ports, or all with port zero.
func (e *Engine) Ways(ctx context.Context, idOrName string, port uint16, protocol string) (Container, []network.Way, error) {
	en, err := e.find(idOrName)
	if err != nil {
		return Container{}, nil, err
	}
	c := e.snapshot(en)
	if c.State != Running {
		return c, nil, naru.Errorf(naru.FailedPrecondition, "container %s is %s: no request reaches it", c.Name, c.State)
	}
	ways, err := e.net.Ways(ctx, network.Subject{PID: c.PID, Port: port, Protocol: protocol})
	return c, ways, err
}
