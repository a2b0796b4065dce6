package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"naru/engine/sandbox"
)

// Finding is something of this engine's that belongs to no container.
type Finding struct {
	Kind string `json:"kind"` // "snapshot", "folder", "cgroup", "network", "link", "process" or "descriptor"
	Name string `json:"name"`
}

// Fsck compares what exists, on disk and in the kernel, with the containers there are, and returns what is too much;
// with repair it removes that.
func (e *Engine) Fsck(ctx context.Context, repair bool) ([]Finding, error) {
	known, running := e.ids()
	checks := []struct {
		kind   string
		list   func(context.Context) ([]string, error)
		known  map[string]bool
		remove func(context.Context, string) error
	}{
		{"snapshot", e.cfg.Images.Snapshots, known, e.cfg.Images.Release},
		{"folder", e.folders, known, func(_ context.Context, id string) error { return os.RemoveAll(e.containerDir(id)) }},
		{"cgroup", e.cgroups, running, func(ctx context.Context, id string) error { return sandbox.RemoveCgroup(ctx, e.cgroup(id)) }},
		{"network", e.endpoints, running, e.net.Detach},
		{"link", e.net.StrangeLinks, nil, e.net.RemoveStrangeLink},
		{"process", e.strangeChildren, nil, e.forgetChild},
		{"descriptor", e.strangeDescriptors, nil, e.cfg.Keeper.Release},
	}
	var found []Finding
	var errs []error
	for _, check := range checks {
		names, err := check.list(ctx)
		if err != nil {
			errs = append(errs, fmt.Errorf("list what there is of kind %s: %w", check.kind, err))
		}
		for _, name := range names {
			if check.known[name] {
				continue
			}
			found = append(found, Finding{check.kind, name})
			if repair {
				errs = append(errs, check.remove(ctx, name))
			}
		}
	}
	return found, errors.Join(errs...)
}

// ids returns the ids of all containers, and of those that may have something in the kernel.
func (e *Engine) ids() (known, running map[string]bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	known, running = map[string]bool{}, map[string]bool{}
	for id, en := range e.containers {
		known[id] = true
		if en.c.State == Running || en.c.State == Starting {
			running[id] = true
		}
	}
	for id := range e.steps {
		running[id] = true
	}
	for id := range e.leaving {
		running[id] = true
	}
	return known, running
}

func (e *Engine) folders(context.Context) ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(e.cfg.DataDir, "containers"))
	if err != nil {
		return nil, err
	}
	var names []string
	for _, entry := range entries {
		if !strings.HasPrefix(entry.Name(), asidePrefix) { // they are being removed
			names = append(names, entry.Name())
		}
	}
	return names, nil
}

func (e *Engine) cgroups(context.Context) ([]string, error) {
	return sandbox.ListCgroups(e.group)
}

func (e *Engine) endpoints(ctx context.Context) ([]string, error) { return e.net.Endpoints(ctx) }

// strangeChildren are processes that the keeper has and that belong to no container that runs, no exec in one and no step.
func (e *Engine) strangeChildren(ctx context.Context) ([]string, error) {
	children, err := e.cfg.Keeper.Children(ctx) // before the containers: what starts in between is in both
	if err != nil {
		return nil, err
	}
	_, running := e.ids()
	var strange []string
	for _, child := range children {
		owner, _, _ := strings.Cut(child.ID, execMark)
		if !running[owner] && !running[child.ID] {
			strange = append(strange, child.ID)
		}
	}
	return strange, nil
}

// strangeDescriptors are inputs that the keeper holds for containers that do not run.
func (e *Engine) strangeDescriptors(ctx context.Context) ([]string, error) {
	names, err := e.cfg.Keeper.AllKept(ctx)
	if err != nil {
		return nil, err
	}
	_, running := e.ids()
	var strange []string
	for _, name := range names {
		if id, ok := strings.CutPrefix(name, keptStdin("")); ok && !running[id] {
			strange = append(strange, name)
		}
	}
	return strange, nil
}
