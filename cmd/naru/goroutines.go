//go:build !front

package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/pprof"
	"sync"
	"syscall"
)

// goroutinesName is the file in the run folder that tellGoroutines writes.
const goroutinesName = "goroutines"

// tellGoroutines writes at each SIGUSR1, until stop is called, how many goroutines the daemon has and where they stand:
// what to look at when it hangs, or grows.
func tellGoroutines(run string, log *slog.Logger) (stop func()) {
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGUSR1)
	var telling sync.WaitGroup
	telling.Go(func() {
		for range asked {
			path := filepath.Join(run, goroutinesName)
			if err := writeGoroutines(path); err != nil {
				log.Error("write where goroutines stand", "err", err)
				continue
			}
			log.Info("a signal asked where goroutines stand", "file", path)
		}
	})
	return func() {
		signal.Stop(asked)
		close(asked)
		telling.Wait()
	}
}

// writeGoroutines replaces the file at once. Its first line ends with their number; equal ones are told together.
func writeGoroutines(path string) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), goroutinesName)
	if err != nil {
		return fmt.Errorf("make a file: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	if err := errors.Join(pprof.Lookup("goroutine").WriteTo(f, 1), f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", f.Name(), err)
	}
	return os.Rename(f.Name(), path)
}
