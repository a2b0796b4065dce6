package engine

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"naru/naru"
)

// Get returns the container with this id, unambiguous beginning of an id, or name.
func (e *Engine) Get(_ context.Context, idOrName string) (Container, error) {
	en, err := e.find(idOrName)
	if err != nil {
		return Container{}, err
	}
	return e.snapshot(en), nil
}

// List returns all containers, the oldest first.
func (e *Engine) List(context.Context) ([]Container, error) {
	return e.list(func(*entry) bool { return true }), nil
}

// Labelled returns the containers that have a label of this name, the oldest first, without touching the others: who looks
// at each change should not pay for containers that are not its own.
func (e *Engine) Labelled(label string) []Container {
	return e.list(func(en *entry) bool { _, ok := en.c.Spec.Labels[label]; return ok })
}

func (e *Engine) list(wanted func(*entry) bool) []Container {
	e.mu.Lock()
	defer e.mu.Unlock()
	var some []*entry
	for _, en := range e.containers {
		if wanted(en) {
			some = append(some, en)
		}
	}
	slices.SortFunc(some, func(a, b *entry) int {
		return cmp.Or(a.c.CreatedAt.Compare(b.c.CreatedAt), cmp.Compare(a.c.ID, b.c.ID))
	})
	out := make([]Container, len(some))
	for i, en := range some {
		out[i] = en.c
	}
	return out
}

func (e *Engine) snapshot(en *entry) Container {
	e.mu.Lock()
	defer e.mu.Unlock()
	return en.c
}

// minPrefix is the shortest beginning of an id that is taken for one.
const minPrefix = 4

func (e *Engine) find(idOrName string) (*entry, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if en, ok := e.containers[idOrName]; ok {
		return en, nil
	}
	if id, ok := e.held.names[idOrName]; ok {
		return e.containers[id], nil
	}
	var found []*entry
	for id, en := range e.containers {
		if len(idOrName) >= minPrefix && strings.HasPrefix(id, idOrName) {
			found = append(found, en)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return nil, naru.Errorf(naru.NotFound, "no container is named %q, and no id begins so", idOrName)
	}
	return nil, naru.Errorf(naru.InvalidArgument, "%d containers have an id that begins with %q: give more of it", len(found), idOrName)
}
