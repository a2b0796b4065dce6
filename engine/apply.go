package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"naru/engine/network"
)

// Publish leads ports of the host to the given backends, in the place of what the same key published before. Before Run
// it is only noted. A port that somebody else holds is a Conflict.
func (e *Engine) Publish(ctx context.Context, key string, pubs []network.Publication) error {
	e.mu.Lock()
	if len(pubs) == 0 {
		delete(e.published, key)
	} else {
		e.published[key] = pubs
	}
	e.mu.Unlock()
	return e.applyChange(ctx)
}

// applyChange brings a change to the kernel, once Run has begun; before, Run's first round does.
func (e *Engine) applyChange(ctx context.Context) error {
	if !e.hasBegun() {
		return nil
	}
	return e.applyNetwork(ctx)
}

func (e *Engine) hasBegun() bool {
	select {
	case <-e.begun:
		return true
	default:
		return false
	}
}

// bring brings a change to the kernel that somebody needs there, and waits for Run to begin.
func (e *Engine) bring(ctx context.Context) error {
	select {
	case <-e.begun:
		return e.applyNetwork(ctx)
	case <-ctx.Done():
		return fmt.Errorf("wait for the networks, which the daemon was just bringing up: %w", ctx.Err())
	}
}

// bringNetwork makes sure that the kernel has the network.
func (e *Engine) bringNetwork(ctx context.Context, n network.Network) error {
	if e.net.Has(n) {
		return nil
	}
	return e.bring(ctx)
}

// lead makes the kernel lead to the published ports of a container that starts. One that has none changes nothing there,
// once its networks are there.
func (e *Engine) lead(ctx context.Context, c Container) error {
	if len(c.ports()) == 0 && e.joinable(c) {
		return nil
	}
	return e.bring(ctx)
}

// leadNoLonger is for one that has ended.
func (e *Engine) leadNoLonger(ctx context.Context, c Container) error {
	if len(c.ports()) == 0 {
		return nil
	}
	return e.applyChange(ctx)
}

// joinable says whether the kernel has the container's networks.
func (e *Engine) joinable(c Container) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return !slices.ContainsFunc(c.endpoints(), func(at Endpoint) bool { return !e.net.Has(e.networks[at.Network].Network) })
}

func (e *Engine) applyNetwork(ctx context.Context) error {
	e.netMu.Lock()
	defer e.netMu.Unlock()
	return e.applyLocked(ctx)
}

// applyLocked makes the kernel's bridges and rules, and the resolver, what memory says. The caller holds netMu.
func (e *Engine) applyLocked(ctx context.Context) error {
	if e.left {
		return fmt.Errorf("apply the network: the daemon has ended: %w", context.Canceled)
	}
	state := e.networkState()
	if err := e.net.Apply(ctx, state); err != nil {
		return fmt.Errorf("apply the network: %w", err)
	}
	return errors.Join(e.publishOutside(ctx, state), e.answerNames(ctx, state))
}

// publishOutside publishes ports where rules do not reach. One that cannot be had keeps nobody else from being reached.
func (e *Engine) publishOutside(ctx context.Context, state network.State) error {
	if e.cfg.Ports == nil {
		return nil
	}
	if err := e.cfg.Ports.Set(ctx, state.Publications); err != nil {
		return fmt.Errorf("publish ports: %w", err)
	}
	return nil
}

// networkState is what the kernel should have: all networks, and the ports of what runs or is about to.
func (e *Engine) networkState() network.State {
	e.mu.Lock()
	defer e.mu.Unlock()
	var s network.State
	for _, n := range e.networks {
		s.Networks = append(s.Networks, n.Network)
	}
	slices.SortFunc(s.Networks, func(a, b network.Network) int { return cmp.Compare(a.Bridge, b.Bridge) })
	for _, key := range slices.Sorted(maps.Keys(e.published)) {
		s.Publications = append(s.Publications, e.published[key]...)
	}
	for _, id := range slices.Sorted(maps.Keys(e.containers)) {
		if c := e.containers[id].c; c.State == Running || c.State == Starting {
			s.Publications = append(s.Publications, publications(c)...)
		}
	}
	return s
}
