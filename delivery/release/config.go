package release

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"naru/naru"
	"naru/store"
)

// maxVariable is Linux's limit for one "NAME=value" with its closing zero (MAX_ARG_STRLEN); a process could not be
// started with more.
const maxVariable = 128 << 10

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// Config returns the latest config; an app that nobody configured has version 0.
func (r *Releases) Config(ctx context.Context, ae naru.AppEnv) (c naru.Config, err error) {
	err = r.store.View(ctx, func(tx *store.Tx) error {
		c, err = r.table.latestConfig(tx, ae)
		return err
	})
	return c, err
}

// SetConfig sets variables, leaving others as they are. When the app is up this mints a release with them; otherwise
// they wait for the first, or next, Mint. Errors and reasons name variables and never show a value.
func (r *Releases) SetConfig(ctx context.Context, ae naru.AppEnv, variables map[string]string) (Outcome, error) {
	if err := errors.Join(ae.Validate(), validateVariables(variables)); err != nil {
		return Outcome{}, fmt.Errorf("set config of %s: %w", ae, err)
	}
	names := slices.Sorted(maps.Keys(variables))
	return r.changeConfig(ctx, ae, "config set "+strings.Join(names, ", "), func(c map[string]string) error {
		maps.Copy(c, variables)
		return nil
	})
}

// UnsetConfig removes variables; one that is not set is naru.NotFound and changes nothing. It mints as SetConfig does.
func (r *Releases) UnsetConfig(ctx context.Context, ae naru.AppEnv, names []string) (Outcome, error) {
	if len(names) == 0 {
		return Outcome{}, naru.Errorf(naru.InvalidArgument, "unset config of %s: name at least one variable", ae)
	}
	return r.changeConfig(ctx, ae, "config unset "+strings.Join(names, ", "), func(c map[string]string) error {
		for _, name := range names {
			if _, ok := c[name]; !ok {
				return naru.Errorf(naru.NotFound, "unset config of %s: %q is not set", ae, name)
			}
		}
		maps.DeleteFunc(c, func(name, _ string) bool { return slices.Contains(names, name) })
		return nil
	})
}

// changeConfig writes the next version when change changes something, and mints when the app is up.
func (r *Releases) changeConfig(ctx context.Context, ae naru.AppEnv, reason string, change func(map[string]string) error) (Outcome, error) {
	return r.update(ctx, func(tx *store.Tx) (Outcome, error) {
		latest, err := r.table.latestConfig(tx, ae)
		if err != nil {
			return Outcome{}, err
		}
		next := naru.Config{Version: latest.Version + 1, Variables: maps.Clone(latest.Variables), CreatedAt: time.Now().UTC()}
		if err := change(next.Variables); err != nil {
			return Outcome{}, err
		}
		if maps.Equal(latest.Variables, next.Variables) {
			next = latest
		} else if err := insertConfig(tx, ae, next); err != nil {
			return Outcome{}, err
		}
		return r.mintWithConfig(tx, ae, next.Version, reason)
	})
}

// mintWithConfig mints the current release again with a config version, when there is a current release.
func (r *Releases) mintWithConfig(tx *store.Tx, ae naru.AppEnv, version int, reason string) (Outcome, error) {
	last, err := r.rollouts.Newest(tx, ae)
	if err != nil || last.Goal() == 0 {
		return Outcome{}, err
	}
	rel, err := r.table.Release(tx, ae, last.Goal())
	if err != nil {
		return Outcome{}, err
	}
	rel.ConfigVersion, rel.Reason = version, reason
	return r.mint(tx, rel)
}

func validateVariables(variables map[string]string) error {
	if len(variables) == 0 {
		return naru.Errorf(naru.InvalidArgument, "name at least one variable, as NAME=value")
	}
	for _, name := range slices.Sorted(maps.Keys(variables)) {
		value := variables[name]
		switch {
		case !variableName.MatchString(name):
			return naru.Errorf(naru.InvalidArgument, "%q is not a variable name: use letters, digits and '_', and no digit first", name)
		case strings.ContainsRune(value, 0):
			return naru.Errorf(naru.InvalidArgument, "the value of %s contains a zero byte, which no environment can hold", name)
		case len(name)+len(value)+2 > maxVariable:
			return naru.Errorf(naru.InvalidArgument, "%s is %d bytes long: an environment variable can have %d", name, len(value), maxVariable-len(name)-2)
		}
	}
	return nil
}
