// Package release receives what the builds made (services with their image digests), config changes and scales; it
// owns the tables configs, releases and scales; and it hands on by enqueueing a rollout in the transaction that writes
// the release. A release is immutable: an update, a rollback and a config change each mint a new one.
package release

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"naru/naru"
	"naru/store"
)

// Rollouts is the hop that follows, as this one needs it.
type Rollouts interface {
	// Enqueue writes a rollout of r.AppEnv to release r.To, for which an open one gives way. It fills in the rest.
	Enqueue(tx *store.Tx, r naru.Rollout) (naru.RolloutID, error)
	// Newest is the last rollout enqueued, zero when there was none.
	Newest(tx *store.Tx, ae naru.AppEnv) (naru.Rollout, error)
	// Served are the releases that rollouts were done to, newest first; 0 where the app went down.
	Served(tx *store.Tx, ae naru.AppEnv) ([]naru.ReleaseNumber, error)
}

// Releases mints and remembers releases.
type Releases struct {
	table    Table
	store    *store.Store
	rollouts Rollouts
}

// The methods that may mint return the release that serves or will serve after them, and whether a rollout to it is
// under way: begun by this call, or by an earlier one to the same content. False means that it serves already.

// New returns the releases that s remembers.
func New(s *store.Store, next Rollouts) *Releases { return &Releases{store: s, rollouts: next} }

// Mint makes a release of the services with the latest config, and rolls it out. When the release that serves, or is
// on its way, has the same content already, Mint changes nothing and returns that one. After Down, Mint continues the
// numbers and uses the config that was kept.
func (r *Releases) Mint(ctx context.Context, ae naru.AppEnv, services []naru.ReleasedService, reason string) (naru.Release, bool, error) {
	if err := validate(ae, services); err != nil {
		return naru.Release{}, false, fmt.Errorf("mint a release of %s: %w", ae, err)
	}
	return r.update(ctx, func(tx *store.Tx) (naru.Release, bool, error) {
		c, err := r.table.latestConfig(tx, ae)
		if err != nil {
			return naru.Release{}, false, err
		}
		return r.mint(tx, naru.Release{AppEnv: ae, Services: sorted(services), ConfigVersion: c.Version, Reason: reason})
	})
}

func sorted(services []naru.ReleasedService) []naru.ReleasedService {
	return slices.SortedFunc(slices.Values(services), func(a, b naru.ReleasedService) int { return cmp.Compare(a.Name, b.Name) })
}

// Rollback mints a copy of release to, or when to is 0 of the release that served before the present one. The
// variables of the older release become the latest config, so that the next Mint does not bring back what was rolled
// back.
func (r *Releases) Rollback(ctx context.Context, ae naru.AppEnv, to naru.ReleaseNumber) (naru.Release, bool, error) {
	return r.update(ctx, func(tx *store.Tx) (naru.Release, bool, error) {
		now, err := r.current(tx, ae)
		if err != nil {
			return naru.Release{}, false, err
		}
		if to == 0 {
			if to, err = r.previous(tx, now); err != nil {
				return naru.Release{}, false, err
			}
		}
		old, err := r.table.Release(tx, ae, to)
		if err != nil {
			return naru.Release{}, false, err
		}
		if old.ConfigVersion, err = r.restoreConfig(tx, ae, old.ConfigVersion); err != nil {
			return naru.Release{}, false, err
		}
		old.Reason = "rollback to " + to.String()
		return r.mint(tx, old)
	})
}

// previous is the release that served before now did.
func (r *Releases) previous(tx *store.Tx, now naru.Release) (naru.ReleaseNumber, error) {
	served, err := r.rollouts.Served(tx, now.AppEnv)
	if err != nil {
		return 0, err
	}
	i := slices.IndexFunc(served, func(n naru.ReleaseNumber) bool { return n != 0 && n != now.Number })
	if i < 0 {
		return 0, naru.Errorf(naru.FailedPrecondition, "roll back %s: no release served before %s", now.AppEnv, now.Number)
	}
	return served[i], nil
}

// restoreConfig makes the variables of an old version the latest, as a new version unless they are so already.
func (r *Releases) restoreConfig(tx *store.Tx, ae naru.AppEnv, version int) (int, error) {
	old, err := r.table.Config(tx, ae, version)
	if err != nil {
		return 0, err
	}
	latest, err := r.table.latestConfig(tx, ae)
	if err != nil || maps.Equal(old.Variables, latest.Variables) {
		return latest.Version, err
	}
	restored := naru.Config{Version: latest.Version + 1, Variables: old.Variables, CreatedAt: time.Now().UTC()}
	return restored.Version, insertConfig(tx, ae, restored)
}

// Down rolls out to nothing: every instance stops, no route leads to the app. Its releases, config, scales and volumes
// are kept, so that a later Mint goes on from there.
func (r *Releases) Down(ctx context.Context, ae naru.AppEnv) error {
	return r.store.Update(ctx, func(tx *store.Tx) error {
		last, err := r.rollouts.Newest(tx, ae)
		switch {
		case err != nil:
			return err
		case last.ID == 0:
			return noReleases(ae)
		case last.To == 0 && last.Goal() == 0: // down, or on its way; after a first release that failed, go on
			return nil
		}
		_, err = r.rollouts.Enqueue(tx, naru.Rollout{AppEnv: ae})
		return err
	})
}

// mint writes a release of next's content and enqueues its rollout, unless that content is the goal already.
func (r *Releases) mint(tx *store.Tx, next naru.Release) (naru.Release, bool, error) {
	last, err := r.rollouts.Newest(tx, next.AppEnv)
	if err != nil {
		return naru.Release{}, false, err
	}
	if goal := last.Goal(); goal != 0 {
		have, err := r.table.Release(tx, next.AppEnv, goal)
		if err != nil || have.SameContent(next) {
			return have, !last.State.Ended(), err
		}
	}
	if next.Number, err = nextNumber(tx, next.AppEnv); err != nil {
		return naru.Release{}, false, err
	}
	next.CreatedAt = time.Now().UTC()
	if err := insertRelease(tx, next); err != nil {
		return naru.Release{}, false, err
	}
	if _, err = r.rollouts.Enqueue(tx, naru.Rollout{AppEnv: next.AppEnv, To: next.Number}); err != nil {
		return naru.Release{}, false, err
	}
	return next, true, r.prune(tx, next.AppEnv)
}

// keptReleases is how many releases an app has, at least, to roll back to.
const keptReleases = 10

// prune forgets releases but the newest, those that the rollout under way is about, and the two that a rollback without
// a number is about, whatever failed since.
func (r *Releases) prune(tx *store.Tx, ae naru.AppEnv) error {
	newest, err := r.rollouts.Newest(tx, ae)
	if err != nil {
		return err
	}
	served, err := r.rollouts.Served(tx, ae)
	if err != nil {
		return err
	}
	served = slices.DeleteFunc(served, func(n naru.ReleaseNumber) bool { return n == 0 })
	served = slices.Compact(served)
	keep := append(served[:min(2, len(served))], newest.From, newest.To)
	return r.table.deleteReleases(tx, ae, newest.To-keptReleases, keep)
}

// current is the release that serves, or that is on its way to.
func (r *Releases) current(tx *store.Tx, ae naru.AppEnv) (naru.Release, error) {
	last, err := r.rollouts.Newest(tx, ae)
	switch {
	case err != nil:
		return naru.Release{}, err
	case last.ID == 0:
		return naru.Release{}, noReleases(ae)
	case last.Goal() == 0:
		return naru.Release{}, naru.Errorf(naru.FailedPrecondition, "%s is down: bring it up with 'naru up'", ae)
	}
	return r.table.Release(tx, ae, last.Goal())
}

func noReleases(ae naru.AppEnv) error {
	return naru.Errorf(naru.NotFound, "there is no app %s: 'naru apps' lists those there are, 'naru up' makes one", ae)
}

// Get returns one release.
func (r *Releases) Get(ctx context.Context, ae naru.AppEnv, n naru.ReleaseNumber) (rel naru.Release, err error) {
	err = r.store.View(ctx, func(tx *store.Tx) error {
		rel, err = r.table.Release(tx, ae, n)
		return err
	})
	return rel, err
}

// List returns the releases of an app in an environment, newest first.
func (r *Releases) List(ctx context.Context, ae naru.AppEnv) (all []naru.Release, err error) {
	err = r.store.View(ctx, func(tx *store.Tx) error {
		all, err = r.table.releases(tx, ae)
		return err
	})
	if err == nil && len(all) == 0 {
		err = noReleases(ae)
	}
	return all, err
}

// AppEnvs returns every app in every environment that ever had a release, those that are down too.
func (r *Releases) AppEnvs(ctx context.Context) (all []naru.AppEnv, err error) {
	err = r.store.View(ctx, func(tx *store.Tx) error {
		all, err = r.table.appEnvs(tx)
		return err
	})
	return all, err
}

// update runs fn in a transaction; what fn returned is worth nothing when the commit fails.
func (r *Releases) update(ctx context.Context, fn func(*store.Tx) (naru.Release, bool, error)) (rel naru.Release, rolling bool, err error) {
	err = r.store.Update(ctx, func(tx *store.Tx) error {
		rel, rolling, err = fn(tx)
		return err
	})
	if err != nil {
		return naru.Release{}, false, err
	}
	return rel, rolling, nil
}
