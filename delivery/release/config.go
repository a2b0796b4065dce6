package release

import (
	"context"
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

// ChangeConfig sets and removes variables, leaving others as they are. When the app is up this mints a release with
// them; otherwise they wait for the first, or next, Mint, and the release returned is zero. To remove a variable that
// is not set is naru.NotFound. Errors and reasons name variables and never show a value.
func (r *Releases) ChangeConfig(ctx context.Context, ae naru.AppEnv, set map[string]string, unset []string) (naru.Release, bool, error) {
	if err := validateChange(ae, set, unset); err != nil {
		return naru.Release{}, false, err
	}
	return r.update(ctx, func(tx *store.Tx) (naru.Release, bool, error) {
		latest, err := r.table.latestConfig(tx, ae)
		if err != nil {
			return naru.Release{}, false, err
		}
		variables, err := changed(latest.Variables, set, unset)
		if err != nil {
			return naru.Release{}, false, err
		}
		next := latest
		if !maps.Equal(variables, latest.Variables) {
			next = naru.Config{Version: latest.Version + 1, Variables: variables, CreatedAt: time.Now().UTC()}
			if err := insertConfig(tx, ae, next); err != nil {
				return naru.Release{}, false, err
			}
		}
		return r.mintWithConfig(tx, ae, next.Version, describe(set, unset))
	})
}

// changed is a copy of the variables with the change.
func changed(variables, set map[string]string, unset []string) (map[string]string, error) {
	variables = maps.Clone(variables)
	for _, name := range unset {
		if _, ok := variables[name]; !ok {
			return nil, naru.Errorf(naru.NotFound, "variable %q is not set", name)
		}
	}
	maps.DeleteFunc(variables, func(name, _ string) bool { return slices.Contains(unset, name) })
	maps.Copy(variables, set)
	return variables, nil
}

// describe is the change in words, names only: "config set A, B; unset C".
func describe(set map[string]string, unset []string) string {
	var parts []string
	if len(set) > 0 {
		parts = append(parts, "set "+strings.Join(slices.Sorted(maps.Keys(set)), ", "))
	}
	if len(unset) > 0 {
		parts = append(parts, "unset "+strings.Join(unset, ", "))
	}
	return "config " + strings.Join(parts, "; ")
}

// mintWithConfig mints the current release again with a config version, when there is a current release.
func (r *Releases) mintWithConfig(tx *store.Tx, ae naru.AppEnv, version int, reason string) (naru.Release, bool, error) {
	last, err := r.rollouts.Newest(tx, ae)
	if err != nil || last.Goal() == 0 {
		return naru.Release{}, false, err
	}
	rel, err := r.table.Release(tx, ae, last.Goal())
	if err != nil {
		return naru.Release{}, false, err
	}
	rel.ConfigVersion, rel.Reason = version, reason
	return r.mint(tx, rel)
}

func validateChange(ae naru.AppEnv, set map[string]string, unset []string) error {
	if err := ae.Validate(); err != nil {
		return err
	}
	if len(set)+len(unset) == 0 {
		return naru.Errorf(naru.InvalidArgument, "name at least one variable to set or unset")
	}
	for _, name := range unset {
		if _, both := set[name]; both {
			return naru.Errorf(naru.InvalidArgument, "%s is both set and unset", name)
		}
	}
	return validateVariables(set)
}

func validateVariables(variables map[string]string) error {
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
