package engine

import (
	"context"
	"strconv"
	"sync"
	"time"
)

// Event is a change that has happened. Kinds and actions are named as docker's.
type Event struct {
	Time       time.Time         `json:"time"`
	Kind       string            `json:"kind"`   // "container" or "volume"
	Action     string            `json:"action"` // create, start, die, oom, …
	ID         string            `json:"id"`
	Name       string            `json:"name"`
	Attributes map[string]string `json:"attributes,omitempty"`
}

// keptEvents is how many events are there for who asks for those of the past.
const keptEvents = 256

// eventLog is the latest events, and who is told of the next ones.
type eventLog struct {
	mu       sync.Mutex
	past     []Event
	watchers map[chan Event]struct{}
}

// eventBuffer is how many events a watcher may be behind before it loses some: nobody waits for a watcher.
const eventBuffer = 1024

func (l *eventLog) add(ev Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.past = append(l.past, ev); len(l.past) > keptEvents {
		l.past = l.past[1:]
	}
	for w := range l.watchers {
		select {
		case w <- ev:
		default:
		}
	}
}

// watch returns the past events from since on, and a channel of those to come.
func (l *eventLog) watch(since time.Time) ([]Event, chan Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.watchers == nil {
		l.watchers = map[chan Event]struct{}{}
	}
	c := make(chan Event, eventBuffer)
	l.watchers[c] = struct{}{}
	var past []Event
	for _, ev := range l.past {
		if !since.IsZero() && !ev.Time.Before(since) {
			past = append(past, ev)
		}
	}
	return past, c
}

func (l *eventLog) leave(c chan Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.watchers, c)
}

// Events calls f with each change from now on, after those since a time when that is not zero, until ctx ends or f
// returns an error. This daemon's last few hundred are remembered.
func (e *Engine) Events(ctx context.Context, since time.Time, f func(Event) error) error {
	past, next := e.events.watch(since)
	defer e.events.leave(next)
	for _, ev := range past {
		if err := f(ev); err != nil {
			return err
		}
	}
	for {
		select {
		case ev := <-next:
			if err := f(ev); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// note tells of a change of a container.
func (e *Engine) note(action string, c Container, attributes ...string) {
	ev := Event{Time: time.Now().UTC(), Kind: "container", Action: action, ID: c.ID, Name: c.Name,
		Attributes: map[string]string{"image": c.Spec.Image}}
	for i := 0; i+1 < len(attributes); i += 2 {
		ev.Attributes[attributes[i]] = attributes[i+1]
	}
	e.events.add(ev)
}

// noteExit tells how a container ended.
func (e *Engine) noteExit(c Container) {
	if c.OOMKilled {
		e.note("oom", c)
	}
	e.note("die", c, "exit_code", strconv.Itoa(c.ExitCode), "reason", c.Reason())
}
