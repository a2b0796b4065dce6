package main

import (
	"context"

	"github.com/spf13/cobra"

	"naru/api"
	"naru/api/client"
	"naru/naru"
)

func (c *cli) execCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "exec SERVICE -- COMMAND...", Short: "Run a command inside a running instance", Args: between(2, -1),
		Long:    "Run a command inside a running instance of a service: its first ready one, or the one that --instance names.\nThe exit code is the command's.",
		Example: "  naru exec web -- env\n  naru exec -t web -- sh\n  naru exec --instance 4f1c09d2a7b3 web -- kill -USR1 1",
	}
	app := c.appFlags(cmd)
	var q api.ExecRequest
	cmd.Flags().StringVar((*string)(&q.Instance), "instance", "", "`id` of the instance, or its beginning (see naru ps)")
	execFlags(cmd, &q)
	cmd.ValidArgsFunction = c.completeServices(app)
	cmd.RunE = c.runProcess(func(ctx context.Context, args []string) error {
		ae, err := app.appEnv(ctx)
		if err != nil {
			return err
		}
		q.Service, q.Command = naru.ServiceName(args[0]), commandOf(args[1:])
		return c.withProcess(ctx, true, q.TTY, func(cl *client.Client, con *console) (int, error) {
			q.Size = con.size
			return cl.Exec(ctx, ae, q, con.Streams)
		})
	})
	return cmd
}

// commandOf is the command that stands after a name, with or without the -- that may set it apart.
func commandOf(args []string) []string {
	if len(args) > 0 && args[0] == "--" {
		return args[1:]
	}
	return args
}

// execFlags are those of both execs.
func execFlags(cmd *cobra.Command, q *api.ExecRequest) {
	cmd.Flags().SetInterspersed(false) // flags after the first word are the command's
	cmd.Flags().BoolVarP(&q.TTY, "tty", "t", false, "with a terminal")
	cmd.Flags().StringVarP(&q.User, "user", "u", "", "as `user[:group]`")
	cmd.Flags().StringVarP(&q.WorkingDir, "workdir", "w", "", "in this `folder`")
}

// withProcess opens the console, runs the process and puts the terminal back before anything else is printed.
func (c *cli) withProcess(ctx context.Context, stdin, tty bool, run func(*client.Client, *console) (int, error)) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	con, err := c.openConsole(stdin, tty)
	if err != nil {
		return err
	}
	code, err := run(cl, con)
	con.restore()
	return processEnd(code, err)
}
