package engine

import (
	"context"
	"fmt"
	"hash/fnv"
	"path/filepath"
	"time"

	"naru/engine/forward"
)

// Destination is where the logs of all containers are handed on to.
type Destination struct {
	Name string // the same in each daemon's life: how far each log has come is remembered under it
	To   forward.Receiver
}

// forwarding is one log on its way to one destination.
type forwarding struct {
	stop  context.CancelFunc
	ended chan struct{}
}

// forward hands the container's log on to every destination, beside everything else, until it has ended and all it said
// is delivered; a container that is to be removed on exit stays until then. The caller holds e.mu.
func (e *Engine) forward(en *entry) {
	for _, d := range e.cfg.Forward {
		if _, under := en.forwards[d.Name]; under || en.closed {
			continue
		}
		ctx, stop := context.WithCancel(e.life)
		f := &forwarding{stop: stop, ended: make(chan struct{})}
		if en.forwards == nil {
			en.forwards = map[string]*forwarding{}
		}
		en.forwards[d.Name] = f
		en.holds++
		e.waiting.Go(func() { e.forwardTo(ctx, en, d, f) })
	}
}

func (e *Engine) forwardTo(ctx context.Context, en *entry, d Destination, f *forwarding) {
	defer f.stop()
	for ctx.Err() == nil {
		err := forward.Follow(ctx, e.logToForward(en, d), d.To, e.log.With("to", d.Name))
		if err == nil && !e.forwardsOn(en, d) {
			break
		}
		if err != nil && ctx.Err() == nil {
			e.log.Error("forward a container's log", "container", e.snapshot(en).Name, "to", d.Name, "err", err)
			rest(ctx, settleRetry)
		}
	}
	e.mu.Lock()
	if en.forwards[d.Name] == f {
		delete(en.forwards, d.Name)
	}
	e.mu.Unlock()
	close(f.ended)
	if e.life.Err() == nil { // else the next daemon goes on, and the container is still held for it
		e.letGo(ctx, en)
	}
}

func rest(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// forwardsOn reports whether the container, all of whose log was delivered, has been started again meanwhile. If not, a
// start from now on begins another forwarding.
func (e *Engine) forwardsOn(en *entry, d Destination) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !en.ended() {
		return true
	}
	delete(en.forwards, d.Name)
	return false
}

func (e *Engine) logToForward(en *entry, d Destination) forward.Log {
	c := e.snapshot(en)
	h := fnv.New64a()
	_, _ = h.Write([]byte(d.Name)) // never fails
	return forward.Log{
		Source:   forward.Source{ID: c.ID, Name: c.Name, Image: c.Spec.Image, Labels: c.Spec.Labels},
		Dir:      e.logDir(c.ID),
		Position: filepath.Join(e.containerDir(c.ID), fmt.Sprintf("forward-%x", h.Sum64())),
		Ended: func() <-chan struct{} {
			e.mu.Lock()
			defer e.mu.Unlock()
			return en.done
		},
	}
}

// lastWords is how long the removal of a container waits for its log to be forwarded: long enough for a receiver that is
// there.
const lastWords = time.Second

// leaveForward ends the forwarding of a container that is being removed. The caller holds en.op.
func (e *Engine) leaveForward(ctx context.Context, en *entry) {
	e.mu.Lock()
	var under []*forwarding
	for _, f := range en.forwards {
		under = append(under, f)
	}
	e.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, lastWords)
	defer cancel()
	for _, f := range under {
		select {
		case <-f.ended:
		case <-ctx.Done():
		}
		f.stop()
		<-f.ended
	}
}
