package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"naru/api/client"
	"naru/naru"
)

// inspectVerb shows everything about what is named: a JSON value each, or what a template says.
func inspectVerb[T any](c *cli, cmd *cobra.Command, get func(*client.Client, context.Context, string) (T, error)) *cobra.Command {
	cmd.Args = between(1, -1)
	format := cmd.Flags().StringP("format", "f", "", "Go `template` to print instead")
	cmd.RunE = c.run(func(ctx context.Context, args []string) error {
		cl, err := c.client()
		if err != nil {
			return err
		}
		var failed []error
		for _, name := range args {
			v, err := get(cl, ctx, name)
			switch {
			case err != nil:
			case *format == "":
				err = c.printJSON(v)
			default:
				err = printTemplate(c, *format, []T{v})
			}
			failed = append(failed, err)
		}
		return errors.Join(failed...)
	})
	return cmd
}

// forced is whether what is not there is no error to remove.
type forced bool

func forceFlag(cmd *cobra.Command) *forced {
	f := new(forced)
	cmd.Flags().BoolVarP((*bool)(f), "force", "f", false, "those that are not there are no error")
	return f
}

// pardon lets an error pass that says that something is not there.
func (f *forced) pardon(err error) error {
	if bool(*f) && naru.CodeOf(err) == naru.NotFound {
		return nil
	}
	return err
}
