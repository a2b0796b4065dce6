//go:build front

package main

import (
	"context"
	_ "embed"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"syscall"

	"naru/engine/rootless"
	"naru/engine/sandbox/fork"
	"naru/naru"
)

// whole is this program with the daemon and the reader of app files in it: the same package, built without the tag.
// Those link a hundred libraries that take 15 ms to begin, at each command; so they begin only for the verbs below.
//
//go:embed embedded/naru
var whole string

func serve(context.Context, serverFlags, *slog.Logger) error { return becomeWhole() }

func folderApp(context.Context) (naru.AppName, error) { return "", becomeWhole() }

func (c *cli) up(context.Context, *upFlags, string) error { return becomeWhole() }

// becomeWhole runs the same command line in the whole program, from memory. It returns only when it fails.
func becomeWhole() error {
	exe, err := fork.Seal("naru", strings.NewReader(whole), 0o555)
	if err != nil {
		return fmt.Errorf("start the whole of naru: %w", err)
	}
	defer exe.Close()
	if err := rootless.StayMortal(); err != nil {
		return err
	}
	path := fmt.Sprintf("/proc/self/fd/%d", exe.Fd())
	return fmt.Errorf("start the whole of naru: %w", syscall.Exec(path, os.Args, os.Environ()))
}
