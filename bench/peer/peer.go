// Package peer starts the programs that a benchmark compares, naru's daemon among them, each in folders of its own and
// without touching what else this machine runs, and ends them without a trace.
package peer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// patience bounds how long a daemon may take to answer, and to end.
const patience = 60 * time.Second

// daemon is a running program and its log.
type daemon struct {
	cmd   *exec.Cmd
	log   string
	ended chan struct{}
}

// start runs cmd in a network namespace, with its output in dir/NAME.log, and waits until ready returns nil.
func start(ctx context.Context, dir string, cmd *exec.Cmd, in *NetNS, ready func() error) (*daemon, error) {
	d := &daemon{cmd: cmd, log: filepath.Join(dir, filepath.Base(cmd.Path)+".log"), ended: make(chan struct{})}
	log, err := os.Create(d.log)
	if err != nil {
		return nil, err
	}
	defer log.Close() // the child has its own descriptor
	cmd.Stdout, cmd.Stderr = log, log
	if err := in.Do(cmd.Start); err != nil {
		return nil, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	go func() {
		defer close(d.ended)
		_ = cmd.Wait() // how it ended is in cmd.ProcessState
	}()
	if err := d.wait(ctx, ready); err != nil {
		return nil, errors.Join(err, d.stop())
	}
	return d, nil
}

func (d *daemon) wait(ctx context.Context, ready func() error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		err := ready()
		if err == nil {
			return nil
		}
		select {
		case <-d.ended:
			return fmt.Errorf("%s ended at its start: %v\n%s", d.cmd.Path, d.cmd.ProcessState, d.logTail())
		case <-ctx.Done():
			return fmt.Errorf("%s does not answer: %w\n%s", d.cmd.Path, err, d.logTail())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// PID is the daemon's process.
func (d *daemon) PID() int { return d.cmd.Process.Pid }

// stop asks the daemon to end, and makes it when it does not.
func (d *daemon) stop() error {
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop %s: %w", d.cmd.Path, err)
	}
	select {
	case <-d.ended:
		return nil
	case <-time.After(patience):
		err := d.cmd.Process.Kill()
		<-d.ended
		return errors.Join(fmt.Errorf("%s did not end when asked", d.cmd.Path), err)
	}
}

func (d *daemon) logTail() string {
	text, err := os.ReadFile(d.log)
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-4000):])
}

// expect runs a command and checks that it succeeds and prints exactly want.
func expect(cmd *exec.Cmd, want string) error {
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, exit.Stderr)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", strings.Join(cmd.Args, " "), err)
	}
	if string(out) != want {
		return fmt.Errorf("%s printed %q, want %q", strings.Join(cmd.Args, " "), out, want)
	}
	return nil
}

// quiet runs a command for its effect.
func quiet(cmd *exec.Cmd) error {
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, out)
	}
	return nil
}

// rows runs a command that lists things below a header, and counts them.
func rows(cmd *exec.Cmd) (int, error) {
	out, err := cmd.Output()
	if err != nil {
		return 0, fmt.Errorf("%s: %w", strings.Join(cmd.Args, " "), err)
	}
	return strings.Count(string(out), "\n") - 1, nil
}
