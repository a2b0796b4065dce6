package rollout

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"naru/naru"
	"naru/store"
	"naru/target"
)

// act carries out a plan in its order. A wish that the target refuses for good fails the rollout; another error is
// returned, and a later plan tries again.
func (r *Rollouts) act(ctx context.Context, s Situation, ops []Op) error {
	for _, op := range ops {
		r.cfg.Log.Debug("rollout", "app", s.Rollout.AppEnv.String(), "rollout", s.Rollout.ID, "op", op.String())
		err := r.do(ctx, s, op)
		if _, own := op.(Advance); !own && refused(err) && canFail(s.Rollout.State) {
			return r.advance(ctx, s, see(s).fail(err.Error(), nil))
		}
		if err != nil {
			return fmt.Errorf("%s: %w", op, err)
		}
	}
	return nil
}

func (r *Rollouts) do(ctx context.Context, s Situation, op Op) error {
	switch op := op.(type) {
	case ApplySet:
		return r.apply(ctx, s, op.Set)
	case RemoveSet:
		return r.cfg.Target.Remove(ctx, s.Rollout.AppEnv, op.Key)
	case SetTraffic:
		return r.cfg.Target.SetTraffic(ctx, s.Rollout.AppEnv, op.Traffic)
	case Advance:
		return r.advance(ctx, s, op)
	default:
		return fmt.Errorf("unknown step %T", op)
	}
}

// refused reports whether the target will never do what it was asked.
func refused(err error) bool {
	switch naru.CodeOf(err) {
	case naru.InvalidArgument, naru.Conflict, naru.Unimplemented, naru.FailedPrecondition, naru.NotFound:
		return true
	}
	return false
}

// canFail reports whether the old sets are still whole, so that there is something to go back to.
func canFail(s naru.RolloutState) bool {
	return s == naru.RolloutStarting || s == naru.RolloutShifting
}

// apply resolves the set's variables, which live only from here to the target.
func (r *Rollouts) apply(ctx context.Context, s Situation, set target.Set) error {
	rel := s.To
	if s.To == nil || s.To.Number != set.Release {
		rel = s.From
	}
	config, err := r.config(ctx, *rel)
	if err != nil {
		return err
	}
	set.Variables = variables(set.Service, config)
	return r.cfg.Target.Apply(ctx, set)
}

func (r *Rollouts) config(ctx context.Context, rel naru.Release) (c naru.Config, err error) {
	err = r.cfg.Store.View(ctx, func(tx *store.Tx) error {
		c, err = r.cfg.Releases.Config(tx, rel.AppEnv, rel.ConfigVersion)
		return err
	})
	return c, err
}

// variables is the whole environment of a service's processes: the app file's, over it the config, and PORT unless one
// of them says it.
func variables(s naru.ReleasedService, config naru.Config) target.Variables {
	v := target.Variables{}
	if s.Port != 0 {
		v["PORT"] = strconv.Itoa(int(s.Port))
	}
	maps.Copy(v, s.Environment)
	maps.Copy(v, config.Variables)
	return v
}

// errOvertaken says that the rollout changed after the plan was made.
var errOvertaken = errors.New("the rollout changed meanwhile")

// advance persists a change of state or step, unless somebody else changed the rollout since the plan was made: then
// the plan is void and the next one knows better.
func (r *Rollouts) advance(ctx context.Context, s Situation, a Advance) error {
	if a.State == naru.RolloutFailed && s.To != nil {
		var err error
		if a, err = r.hide(ctx, *s.To, a); err != nil {
			return err
		}
	}
	err := r.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		now, err := get(tx, s.Rollout.ID)
		if err != nil {
			return err
		}
		if now.State != s.Rollout.State || now.Step != s.Rollout.Step {
			return errOvertaken
		}
		next, err := r.advanced(now, a)
		if err != nil {
			return err
		}
		return update(tx, next)
	})
	if errors.Is(err, errOvertaken) {
		return nil
	}
	return err
}

// minHidden is the length from which a config value is taken for a secret wherever it is printed; shorter ones ("1",
// "true", "eu") are found in any text.
const minHidden = 6

// hider replaces the values of config variables by their names: a failing process may print what it was given. A value
// of several lines is hidden line by line, because output is. Longer values go first: they may contain shorter ones.
func hider(c naru.Config) *strings.Replacer {
	names := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(c.Variables)) {
		for line := range strings.Lines(c.Variables[name]) {
			if line = strings.TrimSpace(line); len(line) >= minHidden {
				names[line] = "[" + name + "]"
			}
		}
	}
	var pairs []string
	for _, value := range slices.SortedFunc(maps.Keys(names), func(a, b string) int {
		return cmp.Or(len(b)-len(a), cmp.Compare(a, b))
	}) {
		pairs = append(pairs, value, names[value])
	}
	return strings.NewReplacer(pairs...)
}

// hide is the advance without the values of config variables.
func (r *Rollouts) hide(ctx context.Context, rel naru.Release, a Advance) (Advance, error) {
	config, err := r.config(ctx, rel)
	if err != nil {
		return a, err
	}
	h := hider(config)
	a.Reason, a.LogLines = h.Replace(a.Reason), slices.Clone(a.LogLines)
	for i, l := range a.LogLines {
		a.LogLines[i] = h.Replace(l)
	}
	return a, nil
}
