// Package ociruntime is the runc-compatible face of the sandbox: it receives a bundle and the operations of the OCI
// runtime-spec (create, start, state, kill, delete and their kin), owns a folder of state for each container, and has
// package sandbox plan and start exactly what naru's own engine would. It keeps no process of its own: between two
// operations there is nothing but the container, its state on disk, and whoever called.
package ociruntime

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"naru/engine/sandbox"
	"naru/engine/sandbox/fork"
	"naru/naru"
)

// Runtime is a folder of containers.
type Runtime struct {
	Root string
	// Init opens the sealed executable that is the first process of containers that need one.
	Init func() (*os.File, error)
	// Warn is told what went wrong without being a reason to fail; nil: nobody is.
	Warn func(error)
	// Rootless says that this process is root of a user namespace that was made for its caller, an ordinary user: the
	// ids of a configuration are those outside of it.
	Rootless bool
}

// Stdio are a process's first descriptors, and those from 3 on that it keeps.
type Stdio struct {
	Files [3]*os.File
	Keep  []*os.File
}

func (r *Runtime) warn(err error) {
	if err != nil && r.Warn != nil {
		r.Warn(err)
	}
}

// idLetters are what runc takes in a container's name.
const idLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+.-"

// dir is a container's folder. The letters let two names through that would lead out of the root.
func (r *Runtime) dir(id string) (string, error) {
	if strings.Trim(id, idLetters) != "" || id == "" || id == "." || id == ".." || len(id) > 1024 {
		return "", naru.Errorf(naru.InvalidArgument, "invalid container id %q", id)
	}
	return filepath.Join(r.Root, id), nil
}

// makeDir makes the folder of a new container; the kernel sees to it that only one can.
func (r *Runtime) makeDir(id string) (string, error) {
	dir, err := r.dir(id)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(r.Root, 0o700); err != nil {
		return "", fmt.Errorf("make the root folder: %w", err)
	}
	err = os.Mkdir(dir, 0o700)
	if errors.Is(err, fs.ErrExist) {
		return "", naru.Errorf(naru.Conflict, "container with given ID already exists: %s", id)
	}
	return dir, err
}

// sealing is the init's executable, for a container that needs one: to copy and seal it takes 2 ms.
type sealing struct {
	init   func() (*os.File, error)
	once   sync.Once
	beside sync.WaitGroup
	exe    *os.File
	err    error
}

// begin seals beside everything else, for who will need it. The caller closes it.
func (s *sealing) begin() { s.beside.Go(s.seal) }

func (s *sealing) seal() { s.once.Do(func() { s.exe, s.err = s.init() }) }

// Spawn starts a process that lives on when this one ends: somebody else's subreaper inherits it.
func (s *sealing) Spawn(_ context.Context, _ string, cmd fork.Cmd) (fork.Process, error) {
	if cmd = sandbox.Unsealed(cmd); !cmd.Bare {
		if s.seal(); s.err != nil {
			return fork.Process{}, s.err
		}
		cmd.Exe = s.exe
	}
	return fork.Start(cmd)
}

func (s *sealing) close() {
	s.beside.Wait()
	if s.exe != nil {
		s.exe.Close()
	}
}

// writeFile writes a file whole or not at all.
func writeFile(path string, data []byte, mode fs.FileMode) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	_, err = f.Write(data)
	for _, step := range []func() error{func() error { return f.Chmod(mode) }, f.Close} {
		err = errors.Join(err, step())
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return os.Rename(f.Name(), path)
}
