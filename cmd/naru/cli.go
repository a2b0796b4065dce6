package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"naru/api/client"
	"naru/engine/rootless"
)

// cli is one run of the program: its streams and the flags that every verb has.
type cli struct {
	in       io.Reader
	out, err io.Writer
	env      func(string) string

	host    string
	parsed  bool // the command line was understood: what fails from here on is not its fault
	running *cobra.Command
}

// defaultRunDir is where a daemon that was told nothing else has its socket.
const defaultRunDir = "/run/naru"

// socketName is the socket for commands in a daemon's folder.
const socketName = "naru.sock"

// client asks the daemon that --host, NARU_HOST or the default names, in this order.
func (c *cli) client() (*client.Client, error) {
	for _, host := range []string{c.host, c.env("NARU_HOST")} {
		if host != "" {
			return client.New(host)
		}
	}
	return client.New(defaultSocket())
}

// defaultSocket is the own daemon's, for an ordinary user who has one, else root's.
func defaultSocket() string {
	own := filepath.Join(rootless.RunDir(defaultRunDir), socketName)
	if _, err := os.Stat(own); err != nil {
		return filepath.Join(defaultRunDir, socketName)
	}
	return own
}

// verb is what a command does.
type verb func(ctx context.Context, args []string) error

// run makes a verb a cobra RunE; Ctrl-C and SIGTERM end its context.
func (c *cli) run(v verb) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		return v(ctx, args)
	}
}

// runProcess makes a verb a cobra RunE that passes signals on to a process instead of ending by them.
func (c *cli) runProcess(v verb) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error { return v(cmd.Context(), args) }
}

// ask is a client call whose result is printed as JSON, or by show.
func ask[T any](ctx context.Context, c *cli, asJSON bool, call func(context.Context, *client.Client) (T, error), show func(T) error) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	v, err := call(ctx, cl)
	if err != nil {
		return err
	}
	if asJSON {
		return c.printJSON(v)
	}
	return show(v)
}

func (c *cli) printJSON(v any) error {
	e := json.NewEncoder(c.out)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

func (c *cli) printf(format string, args ...any) error {
	_, err := fmt.Fprintf(c.out, format, args...)
	return err
}

// note tells people something that is not the answer; programs that read the output do not see it.
func (c *cli) note(format string, args ...any) {
	_, _ = fmt.Fprintf(c.err, format+"\n", args...) // nowhere left to report to
}

// colour says whether w is to be written to in colour: a terminal, and nobody asked for none (no-color.org).
func (c *cli) colour(w io.Writer) bool {
	return c.env("NO_COLOR") == "" && c.env("TERM") != "dumb" && isTerminal(w)
}

// isTerminal reports whether the stream is a terminal.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
