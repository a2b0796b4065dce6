// Package hint tells watchers that something changed. A hint says "look again", never what or how often: a watcher who is
// busy gets one for all that happened meanwhile. Whoever notifies does so after the change can be seen; whoever watches
// looks now and then without a hint too.
package hint

import "sync"

// Watchers are those who want to look again. The zero value has none.
type Watchers struct {
	mu  sync.Mutex
	all map[chan struct{}]struct{}
}

// Watch returns a channel that gets a value after each change, at least one after the last of them, and the function that
// ends the watch.
func (w *Watchers) Watch() (<-chan struct{}, func()) {
	c := make(chan struct{}, 1)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.all == nil {
		w.all = map[chan struct{}]struct{}{}
	}
	w.all[c] = struct{}{}
	return c, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.all, c)
	}
}

// Notify gives every watcher a hint. It never waits.
func (w *Watchers) Notify() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.all {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}
