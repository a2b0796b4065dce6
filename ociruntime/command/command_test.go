package command_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"naru/ociruntime/command"
)

// runtime.md, Operations: "This operation MUST generate an error if it is not provided the container ID", and create also
// when it is not provided a path to the bundle that holds a configuration.
func TestWhatAVerbIsNotTold(t *testing.T) {
	for _, verb := range []string{"create", "start", "state", "kill", "delete", "run", "exec", "ps", "pause", "resume", "update", "events"} {
		if said, err := run(t, verb); err == nil || !strings.Contains(said+err.Error(), "wrong number of arguments") {
			t.Errorf("%s without an id: %v, %q", verb, err, said)
		}
	}
	for _, verb := range []string{"create", "run"} {
		var exit command.Exit
		if said, err := run(t, verb, "--bundle", t.TempDir(), "box"); !errors.As(err, &exit) || exit == 0 || !strings.Contains(said, "config.json") {
			t.Errorf("%s of an empty bundle: %v, %q", verb, err, said)
		}
	}
}

// run runs the command line with a root of its own, and returns what it said.
func run(t *testing.T, args ...string) (said string, err error) {
	t.Helper()
	var out bytes.Buffer
	cmd := command.New(command.Options{In: strings.NewReader(""), Out: &out, Err: &out, Root: t.TempDir(),
		Init: func() (*os.File, error) { return nil, errors.New("no init here") }})
	cmd.SetArgs(args)
	cmd.SetOut(io.Discard)
	cmd.SetErr(&out)
	err = cmd.ExecuteContext(t.Context())
	return out.String(), err
}
