package delivery

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"naru/naru"
	"naru/target"
)

// Target tells what runs: target.Target.
type Target interface {
	Observe(ctx context.Context, ae naru.AppEnv) (target.Observation, error)
	Watch() (hint <-chan struct{}, stop func())
}

// scaleTick bounds how long a lost hint goes unnoticed.
const scaleTick = time.Second

// Scale changes how many instances services have, and waits until they have them. It mints no release: the number is
// not part of one.
func (d *Delivery) Scale(ctx context.Context, ae naru.AppEnv, instances map[naru.ServiceName]int, detach bool, emit func(Event)) error {
	release, changed, err := d.Releases.Scale(ctx, ae, instances)
	if err != nil {
		return err
	}
	if changed && !detach {
		if err := d.awaitScale(ctx, ae, instances, emit); err != nil {
			return err
		}
	}
	emit(Event{Done: &Result{Change: ChangeScale, Release: release.Number, Unchanged: !changed, Detached: detach}})
	return nil
}

// awaitScale waits until each service has the instances asked for, and no other; one that cannot start ends the wait.
func (d *Delivery) awaitScale(ctx context.Context, ae naru.AppEnv, instances map[naru.ServiceName]int, emit func(Event)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, naru.DefaultReadyTimeout, naru.Errorf(naru.Failed,
		"the new instances of %s are not ready after %s: see naru ps", ae, naru.DefaultReadyTimeout))
	defer cancel()
	hint, stop := d.Target.Watch()
	defer stop()
	tick := time.NewTicker(scaleTick)
	defer tick.Stop()
	told := map[naru.ServiceName]Scaled{}
	for {
		observed, err := d.Target.Observe(ctx, ae)
		if err != nil {
			return fmt.Errorf("observe %s: %w", ae, err)
		}
		done, err := tellScale(observed, instances, told, emit)
		if done || err != nil {
			return err
		}
		select {
		case <-hint:
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// tellScale emits what has changed since told, and reports whether all services have what was asked for.
func tellScale(o target.Observation, instances map[naru.ServiceName]int, told map[naru.ServiceName]Scaled, emit func(Event)) (done bool, err error) {
	done = true
	for _, name := range slices.Sorted(maps.Keys(instances)) {
		now := Scaled{Service: name, Wanted: instances[name]}
		total := 0
		for _, s := range o.Sets {
			if s.Service != name {
				continue
			}
			if s.Failure != "" {
				return false, naru.Errorf(naru.Failed, "service %s: %s: see naru logs %s", name, s.Failure, name)
			}
			now.Ready, total = now.Ready+s.Ready, total+len(s.Instances)
		}
		done = done && now.Ready == now.Wanted && total == now.Wanted
		if told[name] != now {
			told[name] = now
			emit(Event{Scaled: &now})
		}
	}
	return done, nil
}
