package main

import (
	"maps"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"naru/naru"
)

// shownFlags are those of a list that say what of it is shown, named as docker's.
type shownFlags struct {
	quiet, noTrunc bool
	filters        []string
	format         string
}

func (f *shownFlags) register(fs *pflag.FlagSet, quiet string) {
	fs.BoolVarP(&f.quiet, "quiet", "q", false, quiet+" only")
	fs.StringArrayVarP(&f.filters, "filter", "f", nil, "only those that `KEY=VALUE` is true of")
	fs.StringVar(&f.format, "format", "", "Go `template` to print of each instead")
	fs.BoolVar(&f.noTrunc, "no-trunc", false, "nothing shortened")
}

// show prints what the flags ask for: a name a line, what the template says, or the table.
func show[T any](c *cli, f shownFlags, list []T, name func(T) string, table func([]T) *table) error {
	switch {
	case f.format != "":
		return printTemplate(c, f.format, list)
	case f.quiet:
		var names []string
		for _, v := range list {
			names = append(names, name(v))
		}
		return c.printLines(names)
	}
	return table(list).write(c.out, c.colour(c.out))
}

// filterKeys tell whether something agrees with a filter's value, by the filter's key.
type filterKeys[T any] map[string]func(v T, value string) bool

// selected are those of the list that the filters let pass: of one key any value will do, and every key must agree.
func selected[T any](list []T, filters []string, keys filterKeys[T]) ([]T, error) {
	wanted := map[string][]string{}
	for _, f := range filters {
		key, value, ok := strings.Cut(f, "=")
		if keys[key] == nil || !ok {
			return nil, naru.Errorf(naru.InvalidArgument, "filter %q: write KEY=VALUE, with one of %s", f, strings.Join(slices.Sorted(maps.Keys(keys)), ", "))
		}
		wanted[key] = append(wanted[key], value)
	}
	out := []T{}
	for _, v := range list {
		agrees := true
		for key, values := range wanted {
			agrees = agrees && slices.ContainsFunc(values, func(value string) bool { return keys[key](v, value) })
		}
		if agrees {
			out = append(out, v)
		}
	}
	return out, nil
}
