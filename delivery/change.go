package delivery

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"naru/naru"
)

// Releases mints releases; each method writes the release and enqueues its rollout in one transaction. The second
// result says whether a rollout to the release is under way; false means that it serves already.
type Releases interface {
	Mint(ctx context.Context, ae naru.AppEnv, services []naru.ReleasedService, reason string) (naru.Release, bool, error)
	ChangeConfig(ctx context.Context, ae naru.AppEnv, set map[string]string, unset []string) (naru.Release, bool, error)
	Rollback(ctx context.Context, ae naru.AppEnv, to naru.ReleaseNumber) (naru.Release, bool, error)
	Scale(ctx context.Context, ae naru.AppEnv, instances map[naru.ServiceName]int) (naru.Release, bool, error)
	Down(ctx context.Context, ae naru.AppEnv) error
	List(ctx context.Context, ae naru.AppEnv) ([]naru.Release, error)
	AppEnvs(ctx context.Context) ([]naru.AppEnv, error)
}

// Rollouts follows the moves of traffic.
type Rollouts interface {
	// Follow tells each about the newest rollout of ae, as it is now and at every change, until it has ended; it returns
	// the ended rollout, and NotFound when there never was one.
	Follow(ctx context.Context, ae naru.AppEnv, each func(naru.Rollout)) (naru.Rollout, error)
}

// ChangeConfig sets and removes variables and rolls the release out that this mints.
func (d *Delivery) ChangeConfig(ctx context.Context, ae naru.AppEnv, set map[string]string, unset []string, detach bool, emit func(Event)) error {
	release, rolling, err := d.Releases.ChangeConfig(ctx, ae, set, unset)
	if err != nil {
		return err
	}
	if release.Number == 0 { // nothing was deployed yet: the config waits for the first release
		emit(Event{Done: &Result{Change: ChangeConfig}})
		return nil
	}
	return d.finish(ctx, release, rolling, detach, emit)
}

// Rollback rolls a copy of an earlier release out.
func (d *Delivery) Rollback(ctx context.Context, ae naru.AppEnv, to naru.ReleaseNumber, detach bool, emit func(Event)) error {
	release, rolling, err := d.Releases.Rollback(ctx, ae, to)
	if err != nil {
		return err
	}
	return d.finish(ctx, release, rolling, detach, emit)
}

// Volumes deletes named volumes of apps, with what is in them.
type Volumes interface {
	RemoveVolumes(ae naru.AppEnv, volumes []naru.VolumeName) error
}

// Down stops everything of an app; its releases and config stay, and its volumes too unless they are to go.
func (d *Delivery) Down(ctx context.Context, ae naru.AppEnv, volumes, detach bool, emit func(Event)) error {
	if volumes && detach {
		return naru.Errorf(naru.InvalidArgument, "volumes can only be removed when nothing uses them any more: wait for it")
	}
	if err := d.Releases.Down(ctx, ae); err != nil {
		return err
	}
	if detach {
		emit(Event{Done: &Result{Change: ChangeDown, Detached: true}})
		return nil
	}
	if err := d.follow(ctx, ae, emit); err != nil {
		return err
	}
	if volumes {
		if err := d.removeVolumes(ctx, ae); err != nil {
			return fmt.Errorf("%s is down, but remove its volumes: %w", ae, err)
		}
	}
	emit(Event{Done: &Result{Change: ChangeDown}})
	return nil
}

// removeVolumes deletes the volumes that any release of the app had.
func (d *Delivery) removeVolumes(ctx context.Context, ae naru.AppEnv) error {
	releases, err := d.Releases.List(ctx, ae)
	if err != nil {
		return err
	}
	names := map[naru.VolumeName]bool{}
	for _, r := range releases {
		for _, s := range r.Services {
			for _, v := range s.Volumes {
				names[v.Volume] = true
			}
		}
	}
	delete(names, "") // a folder of the host, which is not ours
	return d.Volumes.RemoveVolumes(ae, slices.Sorted(maps.Keys(names)))
}

// Follow tells about the newest rollout of an app, which somebody else set going, until it has ended.
func (d *Delivery) Follow(ctx context.Context, ae naru.AppEnv, emit func(Event)) error {
	var last naru.Rollout
	err := d.follow(ctx, ae, func(e Event) {
		last = *e.Rollout
		emit(e)
	})
	if err != nil {
		return err
	}
	result := Result{Change: ChangeRelease, Release: last.To}
	if last.To == 0 {
		result.Change = ChangeDown
	}
	emit(Event{Done: &result})
	return nil
}

// finish tells about the release and follows its rollout to the end.
func (d *Delivery) finish(ctx context.Context, r naru.Release, rolling, detach bool, emit func(Event)) error {
	emit(Event{Release: &ReleaseMinted{Number: r.Number, Reason: r.Reason, Rolling: rolling}})
	result := Result{Change: ChangeRelease, Release: r.Number, Unchanged: !rolling, Detached: detach, URLs: d.URLs(r)}
	if rolling && !detach {
		if err := d.follow(ctx, r.AppEnv, emit); err != nil {
			return err
		}
	}
	emit(Event{Done: &result})
	return nil
}

// follow waits until the newest rollout has ended, and turns an end that is not what was asked for into an error.
func (d *Delivery) follow(ctx context.Context, ae naru.AppEnv, emit func(Event)) error {
	end, err := d.Rollouts.Follow(ctx, ae, func(r naru.Rollout) { emit(Event{Rollout: &r}) })
	if err != nil {
		return fmt.Errorf("follow the rollout of %s: %w", ae, err)
	}
	switch end.State {
	case naru.RolloutFailed:
		return naru.Errorf(naru.Failed, "%s of %s failed%s: %s%s", describe(end.To), ae, stillServing(end), end.Reason, lastWords(end.LogLines))
	case naru.RolloutSuperseded:
		return naru.Errorf(naru.FailedPrecondition, "%s of %s was overtaken by a newer change: %s", describe(end.To), ae, end.Reason)
	}
	return nil
}

func describe(n naru.ReleaseNumber) string {
	if n == 0 {
		return "the stop"
	}
	return "release " + n.String()
}

func stillServing(r naru.Rollout) string {
	if r.From == 0 || r.To == 0 {
		return ""
	}
	return fmt.Sprintf(" and %s keeps serving", r.From)
}

// lastWords is the last output of what failed, as a part of an error.
func lastWords(lines []string) string {
	if len(lines) == 0 {
		return ""
	}
	return "\nIts last output:\n  " + strings.Join(lines, "\n  ")
}

// oneAtATime lets several builds report to a function that expects one caller.
func oneAtATime(emit func(Event)) func(Event) {
	var mu sync.Mutex
	return func(e Event) {
		mu.Lock()
		defer mu.Unlock()
		emit(e)
	}
}
