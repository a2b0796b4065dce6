package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"naru/engine/keeper"
	"naru/engine/rootless"
	"naru/engine/sandbox"
)

// networkLog is the file in which the network's helper says what is wrong.
const networkLog = "network.log"

// defaultHTTP is the address for requests: the port that everybody knows, or the one that everybody may have.
func defaultHTTP() string {
	if os.Geteuid() == 0 && !rootless.Entered() {
		return ":80"
	}
	return ":8080"
}

// serveAsUser runs the daemon for an ordinary user: this program once more, as root of a user namespace. The keeper of a
// daemon that was killed has kept that namespace, and its network: they are entered again.
func serveAsUser(ctx context.Context, f serverFlags, log *slog.Logger) error {
	if err := os.MkdirAll(f.run, 0o700); err != nil {
		return fmt.Errorf("make the folder of sockets: %w", err)
	}
	before, err := formerNamespaces(ctx, f.run)
	if err != nil {
		return err
	}
	ids, lacking := rootless.OwnIDs()
	cmd := rootless.Command{Args: os.Args, Env: os.Environ(), IDs: ids, Network: true, Join: before, Mortal: true}
	if before == nil {
		if err := sandbox.Delegate(); err != nil {
			log.Warn("containers cannot have limits", "why", err)
		}
		warnOfLack(log, lacking)
	} else {
		defer before.Close()
	}
	status, err := launch(ctx, cmd, filepath.Join(f.run, networkLog), log)
	if err != nil || status == 0 {
		return err
	}
	return exitStatus(status)
}

// launch runs the daemon with its further descriptors, connects its network if it is a new one, and opens sockets for it.
func launch(ctx context.Context, cmd rootless.Command, networkLog string, log *slog.Logger) (status int, err error) {
	ours, theirs, err := rootless.OutsidePair()
	if err != nil {
		return 0, err
	}
	defer theirs.Close()
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		rootless.ServeOutside(ctx, ours)
	}()
	defer func() { closing(log, "stop opening sockets", ours.Close); <-answered }()
	life, alive, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	defer life.Close()
	defer alive.Close()
	cmd.Files = []*os.File{os.Stdin, os.Stdout, os.Stderr, theirs, alive}
	cmd.Started = func(pid int) {
		closing(log, "leave the network's life to the daemon", alive.Close)
		if cmd.Join == nil {
			closing(log, "connect the network", func() error { return rootless.Connect(pid, life, networkLog) })
		}
	}
	return rootless.Run(cmd)
}

// warnOfLack says what containers will not have.
func warnOfLack(log *slog.Logger, ids error) {
	if ids != nil {
		log.Warn("containers have no user but root, who is you outside: images with files of other users cannot be used", "why", ids)
	}
	if rootless.HasNetwork() == "" {
		log.Warn("containers reach each other, and published ports reach them, but they and naru reach nothing outside: " +
			"install slirp4netns or pasta (Debian's package passt)")
	}
}

// formerNamespaces is the keeper of a daemon that ran before; nil when there is none.
func formerNamespaces(ctx context.Context, run string) (*os.File, error) {
	pid, err := keeper.PID(ctx, keeper.Options{Dir: run})
	if errors.Is(err, keeper.ErrGone) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, fmt.Errorf("enter the namespaces of keeper %d: %w", pid, err)
	}
	return os.NewFile(uintptr(fd), "keeper"), nil
}
