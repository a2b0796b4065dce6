package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"

	"github.com/spf13/pflag"

	"naru/api/client"
)

// detachKeys are what is typed on a terminal to leave a container that runs on: Ctrl-P Ctrl-Q, unless told otherwise.
type detachKeys struct{ keys []byte }

func (k *detachKeys) register(fs *pflag.FlagSet) {
	fs.Var(k, "detach-keys", "`keys` that leave a terminal and let it run on: letters and ctrl-… (default ctrl-p,ctrl-q)")
}

// Set implements pflag.Value: keys with commas between them, each a character or ctrl- and one of a-z, @, [, \, ], ^, _.
func (k *detachKeys) Set(s string) error {
	k.keys = nil
	for _, name := range strings.Split(s, ",") {
		control, isControl := strings.CutPrefix(strings.ToLower(name), "ctrl-")
		switch {
		case isControl && len(control) == 1 && strings.ContainsAny(control, `abcdefghijklmnopqrstuvwxyz@[\]^_`):
			k.keys = append(k.keys, strings.ToUpper(control)[0]-'@')
		case !isControl && len(name) == 1:
			k.keys = append(k.keys, name[0])
		default:
			return errors.New("write keys such as ctrl-p,ctrl-q or ctrl-x,q")
		}
	}
	return nil
}

// String implements pflag.Value.
func (k *detachKeys) String() string { return "" }

// Type implements pflag.Value.
func (k *detachKeys) Type() string { return "keys" }

// errDetached ends a session that the user left: the container runs on.
var errDetached = errors.New("detached")

// watch lets the keys end a session on a terminal; without one, signals are passed on to the container.
func (k *detachKeys) watch(ctx context.Context, run func(context.Context, *client.Client, *console) (int, error)) func(*client.Client, *console) (int, error) {
	return func(cl *client.Client, con *console) (int, error) {
		ctx, leave := context.WithCancelCause(ctx)
		defer leave(nil)
		if con.size != nil && con.Stdin != nil { // a terminal
			keys := k.keys
			if keys == nil {
				keys = []byte("\x10\x11")
			}
			con.Stdin = &detachReader{from: con.Stdin, keys: keys, leave: func() { leave(errDetached) }}
		}
		if con.Resize == nil { // no terminal
			con.passSignals()
		}
		code, err := run(ctx, cl, con)
		if errors.Is(context.Cause(ctx), errDetached) {
			return 0, nil
		}
		return code, err
	}
}

// detachReader watches what is typed for the keys that leave.
type detachReader struct {
	from  io.Reader
	keys  []byte
	leave func()
	held  int // of the keys that were read and not handed on yet
}

// Read hands on what is typed. A beginning of the keys waits for the next one: only after that it is known whose it is.
func (d *detachReader) Read(p []byte) (int, error) {
	if len(p) < len(d.keys) {
		return d.from.Read(p)
	}
	n, err := d.from.Read(p[d.held:])
	copy(p, d.keys[:d.held])
	typed := p[:d.held+n]
	if before, _, found := bytes.Cut(typed, d.keys); found {
		d.leave()
		return len(before), io.EOF
	}
	d.held = 0
	if err == nil {
		d.held = overlap(typed, d.keys)
	}
	return len(typed) - d.held, err
}

// overlap is how much of a beginning of keys stands at the end of typed.
func overlap(typed, keys []byte) int {
	for n := min(len(typed), len(keys)-1); n > 0; n-- {
		if bytes.HasSuffix(typed, keys[:n]) {
			return n
		}
	}
	return 0
}
