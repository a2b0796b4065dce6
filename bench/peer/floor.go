package peer

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Floor is bench/floor/floor.c at work.
type Floor struct {
	cmd  *exec.Cmd
	ask  io.WriteCloser
	took *bufio.Reader
	said strings.Builder
}

// StartFloor compiles the floor; its containers have image as their root, a folder, and run the program in it.
func StartFloor(ctx context.Context, source, dir, image, program string) (*Floor, error) {
	binary, layers := filepath.Join(dir, "floor"), filepath.Join(dir, "floor.layers")
	if err := quiet(exec.CommandContext(ctx, "cc", "-O2", "-static", "-o", binary, source)); err != nil {
		return nil, err
	}
	if err := os.Mkdir(layers, 0o755); err != nil {
		return nil, err
	}
	f := &Floor{cmd: exec.Command(binary, image, layers, program)}
	f.cmd.Stderr = &f.said
	ask, err := f.cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start the floor: %w", err)
	}
	took, err := f.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start the floor: %w", err)
	}
	f.ask, f.took = ask, bufio.NewReader(took)
	if err := f.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the floor: %w", err)
	}
	return f, nil
}

// Run makes one container and tells how long it took by the floor's own clock: ours would count the talk with it too.
func (f *Floor) Run() (time.Duration, error) {
	if _, err := f.ask.Write([]byte{'\n'}); err != nil {
		return 0, fmt.Errorf("ask the floor: %w", err)
	}
	var micros int64
	if _, err := fmt.Fscanln(f.took, &micros); err != nil {
		return 0, errors.Join(fmt.Errorf("the floor's answer: %w", err), f.Stop())
	}
	return time.Duration(micros) * time.Microsecond, nil
}

// Stop ends the floor.
func (f *Floor) Stop() error {
	_ = f.ask.Close() // its end is asked for by this; that it has ended already is in what Wait returns
	if err := f.cmd.Wait(); err != nil {
		return fmt.Errorf("the floor: %w: %s", err, f.said.String())
	}
	return nil
}
