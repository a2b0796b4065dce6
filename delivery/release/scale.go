package release

import (
	"context"
	"maps"
	"slices"
	"strings"

	"naru/naru"
	"naru/store"
)

// Scale asks for that many instances of services of the current release; 0 stops a service. It is no new release: the
// rollout hop sees the change and applies it. It holds for later releases too, over the app file's own scale. It
// returns the current release, and whether anything was asked for that was not asked for before.
func (r *Releases) Scale(ctx context.Context, ae naru.AppEnv, instances map[naru.ServiceName]int) (naru.Release, bool, error) {
	return r.update(ctx, func(tx *store.Tx) (naru.Release, bool, error) {
		rel, err := r.current(tx, ae)
		if err != nil {
			return naru.Release{}, false, err
		}
		before, err := r.table.Scales(tx, ae)
		if err != nil {
			return naru.Release{}, false, err
		}
		for _, name := range slices.Sorted(maps.Keys(instances)) {
			if err := validateScale(rel, name, instances[name]); err != nil {
				return naru.Release{}, false, err
			}
			if err := putScale(tx, ae, name, instances[name]); err != nil {
				return naru.Release{}, false, err
			}
		}
		after, err := r.table.Scales(tx, ae)
		return rel, !maps.Equal(before, after), err
	})
}

// maxInstances keeps a slip of the finger from filling a machine with instances.
const maxInstances = 1000

func validateScale(rel naru.Release, name naru.ServiceName, n int) error {
	var names []string
	for _, s := range rel.Services {
		names = append(names, string(s.Name))
	}
	if !slices.Contains(names, string(name)) {
		return naru.Errorf(naru.NotFound, "scale %s: %s has no service %q, but %s", rel.AppEnv, rel.Number, name, strings.Join(names, ", "))
	}
	if n < 0 || n > maxInstances {
		return naru.Errorf(naru.InvalidArgument, "scale %s of %s to %d: use 0 to %d", name, rel.AppEnv, n, maxInstances)
	}
	return nil
}

// Scales returns what people asked for by hand; other services run the scale of their release.
func (r *Releases) Scales(ctx context.Context, ae naru.AppEnv) (scales map[naru.ServiceName]int, err error) {
	err = r.store.View(ctx, func(tx *store.Tx) error {
		scales, err = r.table.Scales(tx, ae)
		return err
	})
	return scales, err
}
