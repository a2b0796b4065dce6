package main

import (
	"context"
	"errors"
	"fmt"

	"naru/api"
	"naru/api/client"
	"naru/naru"
)

// Exit codes, as `naru --help` documents them. A process that run or exec started gives its own.
const (
	exitFailed      = 1
	exitUsage       = 2   // the command line, or what it names, is wrong
	exitUnreachable = 3   // no daemon answers
	exitContainer   = 125 // container run: the container could not be made (126, 127: its program could not be executed)
	exitInterrupted = 130 // Ctrl-C
)

// main runs the command line and returns the exit code. Every error is printed here, once.
func (c *cli) main(ctx context.Context, args []string) int {
	root := c.root(args)
	root.SetArgs(args)
	root.SetIn(c.in)
	root.SetOut(c.out)
	root.SetErr(c.err)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return 0
	}
	c.running = cmd
	var status exitStatus
	if !errors.As(err, &status) {
		c.note("naru: %s", err)
	}
	if !c.parsed {
		c.note("See '%s --help'.", cmd.CommandPath())
	}
	return c.exitCode(err)
}

func (c *cli) exitCode(err error) int {
	var status exitStatus
	var answered *api.Error
	var unreachable *client.Unreachable
	switch {
	case errors.As(err, &status):
		return int(status)
	case errors.As(err, &answered) && answered.ExitCode != 0:
		return answered.ExitCode
	case c.running.Annotations[likeDocker] != "":
		return exitContainer
	case errors.As(err, &unreachable):
		return exitUnreachable
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	case !c.parsed, naru.CodeOf(err) == naru.InvalidArgument:
		return exitUsage
	}
	return exitFailed
}

// likeDocker marks the commands whose own failures exit with 125.
const likeDocker = "exit-codes-like-docker"

// exitStatus is the exit status of a process, which becomes ours; there is nothing to print about it.
type exitStatus int

func (s exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

// processEnd makes the end of a process the end of the program.
func processEnd(code int, err error) error {
	if err != nil || code == 0 {
		return err
	}
	return exitStatus(code)
}
