package rollout

import (
	"context"
	"errors"
	"fmt"

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
