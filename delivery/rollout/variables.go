package rollout

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"

	"naru/naru"
	"naru/store"
	"naru/target"
)

// Set is the set of a service of the release that serves, or is on its way to, with its variables resolved: what a job
// borrows image, variables and network from.
func (r *Rollouts) Set(ctx context.Context, ae naru.AppEnv, name naru.ServiceName) (target.Set, error) {
	ro, err := r.Last(ctx, ae)
	if err != nil {
		return target.Set{}, err
	}
	if ro.Goal() == 0 {
		return target.Set{}, naru.Errorf(naru.FailedPrecondition, "%s is down: bring it up with 'naru up'", ae)
	}
	s := Situation{Rollout: ro}
	err = r.cfg.Store.View(ctx, func(tx *store.Tx) error { return r.releases(tx, &s) })
	if err != nil {
		return target.Set{}, err
	}
	return r.resolved(ctx, s, name)
}

func (r *Rollouts) resolved(ctx context.Context, s Situation, name naru.ServiceName) (target.Set, error) {
	v := see(s)
	for _, set := range v.serving() {
		if set.Service.Name != name {
			continue
		}
		config, err := r.config(ctx, *v.goal().Release)
		set.Variables = variables(set.Service, config)
		return set, err
	}
	return target.Set{}, naru.Errorf(naru.NotFound, "%s of %s has no service %q", s.Rollout.Goal(), s.Rollout.AppEnv, name)
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
