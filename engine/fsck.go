package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
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
	checks := []struct {
		kind    string
		list    func(context.Context) ([]string, error)
		belongs func(claims, string) bool
		remove  func(context.Context, string) error
	}{
		{"snapshot", e.cfg.Images.Snapshots, claims.knows, e.cfg.Images.Release},
		{"folder", e.folders, claims.knows, func(_ context.Context, id string) error { return os.RemoveAll(e.containerDir(id)) }},
		{"cgroup", e.cgroups, claims.runs, func(ctx context.Context, id string) error { return sandbox.RemoveCgroup(ctx, e.cgroup(id)) }},
		{"network", e.endpoints, claims.runs, e.net.Detach},
		{"link", e.net.StrangeLinks, claims.nothing, e.net.RemoveStrangeLink},
		{"process", e.childIDs, claims.runsProcess, e.forgetChild},
		{"descriptor", e.keptNames, claims.runsInput, e.cfg.Keeper.Release},
	}
	var found []Finding
	var errs []error
	for _, check := range checks {
		names, err := e.strange(ctx, check.list, check.belongs)
		if len(names) > 0 { // what was just being removed is gone the second time
			var still []string
			still, err = e.strange(ctx, check.list, check.belongs)
			names = slices.DeleteFunc(names, func(name string) bool { return !slices.Contains(still, name) })
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("list what there is of kind %s: %w", check.kind, err))
		}
		for _, name := range names {
			found = append(found, Finding{check.kind, name})
			if repair {
				errs = append(errs, check.remove(ctx, name))
			}
		}
	}
	return found, errors.Join(errs...)
}

// strange are those of a list that belong to nobody. The list comes before the claims: what is made in between is in both,
// for a container is written down before anything is made for it.
func (e *Engine) strange(ctx context.Context, list func(context.Context) ([]string, error), belongs func(claims, string) bool) ([]string, error) {
	names, err := list(ctx)
	now := e.claims()
	return slices.DeleteFunc(names, func(name string) bool { return belongs(now, name) }), err
}

// claims are the ids of all containers, and of those that may have something in the kernel.
type claims struct{ known, running map[string]bool }

func (e *Engine) claims() claims {
	e.mu.Lock()
	defer e.mu.Unlock()
	c := claims{known: map[string]bool{}, running: map[string]bool{}}
	for id, en := range e.containers {
		c.known[id] = true
		if en.c.State == Running || en.c.State == Starting {
			c.running[id] = true
		}
	}
	for id := range e.steps {
		c.running[id] = true
	}
	for id := range e.leaving {
		c.running[id] = true
	}
	return c
}

func (c claims) knows(id string) bool { return c.known[id] }

func (c claims) runs(id string) bool { return c.running[id] }

func (c claims) nothing(string) bool { return false }

// runsProcess says whether a process of the keeper's is a container that runs, an exec in one, or a step.
func (c claims) runsProcess(id string) bool {
	owner, _, _ := strings.Cut(id, execMark)
	return c.running[owner] || c.running[id]
}

// runsInput says whether a descriptor that the keeper holds is a running container's input, or nothing of a container's.
func (c claims) runsInput(name string) bool {
	id, input := strings.CutPrefix(name, keptStdin(""))
	return !input || c.running[id]
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

func (e *Engine) childIDs(ctx context.Context) (ids []string, err error) {
	children, err := e.cfg.Keeper.Children(ctx)
	for _, child := range children {
		ids = append(ids, child.ID)
	}
	return ids, err
}

func (e *Engine) keptNames(ctx context.Context) ([]string, error) { return e.cfg.Keeper.AllKept(ctx) }
