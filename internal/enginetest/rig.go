// Package enginetest opens engines for tests: on real folders, with a real keeper, on the real kernel.
package enginetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"naru/engine"
	"naru/engine/image"
	"naru/engine/keeper"
	"naru/engine/sandbox/fork"
	"naru/internal/testkit"
	"naru/store"
)

// Rig is an engine on real folders, a real keeper and the real kernel, which can be taken down and opened again.
type Rig struct {
	*engine.Engine
	t       testing.TB
	Data    string
	keeper  *keeper.Client
	Images  *image.Store
	Store   *store.Store
	Forward []engine.Destination // of the next Open
	isOpen  bool
	end     context.CancelFunc
	ended   chan error
}

// keeperELF builds the keeper once for all tests of a package, and keeps it in memory: the folder for temporary files is
// on a disk that goes with a test, at times.
var keeperELF = sync.OnceValues(func() (*os.File, error) {
	dir, err := os.MkdirTemp("", "naru-keeper")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }() // a temporary folder
	path := filepath.Join(dir, "keeper")
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", path, "naru/cmd/naru-keeper")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the keeper: %w\n%s", err, out)
	}
	elf, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = elf.Close() }() // it was only read
	return fork.Seal("naru-keeper", elf, 0o755)
})

// New opens a rig with the image "busybox"; at the test's end it removes all containers and checks that nothing is left
// anywhere. Without root the test is skipped.
func New(t testing.TB) *Rig {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("containers need root")
	}
	data, err := os.MkdirTemp("", "nre")
	if err != nil {
		t.Fatal(err)
	}
	r := &Rig{t: t, Data: data}
	t.Cleanup(r.finish)
	program, err := keeperELF()
	if err != nil {
		t.Fatal(err)
	}
	if r.keeper, err = keeper.Ensure(t.Context(), keeper.Options{Dir: filepath.Join(data, "run"), Executable: program}); err != nil {
		t.Fatal(err)
	}
	if r.Images, err = image.Open(t.Context(), filepath.Join(data, "images")); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Images.Import(t.Context(), bytes.NewReader(testkit.BusyboxRootfs(t)), "busybox"); err != nil {
		t.Fatal(err)
	}
	if r.Store, err = store.Open(t.Context(), filepath.Join(data, "naru.db")); err != nil {
		t.Fatal(err)
	}
	r.Open()
	return r
}

// Open opens an engine on what is there, as a new daemon does, and runs it.
func (r *Rig) Open() {
	r.t.Helper()
	r.OpenIdle()()
}

// OpenIdle is Open without running the engine, which the function that it returns does.
func (r *Rig) OpenIdle() (run func()) {
	r.t.Helper()
	e, err := engine.Open(context.WithoutCancel(r.t.Context()), engine.Config{Store: r.Store, Images: r.Images, Keeper: r.keeper, DataDir: r.Data, Forward: r.Forward,
		Subnet: netip.MustParsePrefix("10.213.0.0/16"), Log: slog.New(slog.NewTextHandler(r.t.Output(), nil))})
	if err != nil {
		r.t.Fatal(err)
	}
	if err := e.Adopt(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
	ctx, end := context.WithCancel(context.WithoutCancel(r.t.Context()))
	r.isOpen, r.Engine, r.end, r.ended = true, e, end, make(chan error, 1)
	return func() { go func() { r.ended <- e.Run(ctx) }() }
}

// Shut ends the engine as a daemon's death does: what runs runs on.
func (r *Rig) Shut() {
	r.t.Helper()
	r.isOpen = false
	r.end()
	if err := <-r.ended; err != nil {
		r.t.Error(err)
	}
}

// finish removes all containers and checks that nothing of the engine is left anywhere.
func (r *Rig) finish() {
	ctx := context.WithoutCancel(r.t.Context())
	if r.Engine != nil {
		if !r.isOpen {
			r.Open()
		}
		list, err := r.List(ctx)
		if err != nil {
			r.t.Error(err)
		}
		for _, c := range list {
			if err := r.Remove(ctx, c.ID, true); err != nil {
				r.t.Error(err)
			}
		}
		if found, err := r.Fsck(ctx, false); err != nil || len(found) != 0 {
			r.t.Errorf("left behind: %v, %v", found, err)
		}
		r.Shut()
		r.kernelIsClean()
	}
	if r.keeper != nil {
		if children, err := r.keeper.Children(ctx); err != nil || len(children) != 0 {
			r.t.Errorf("the keeper still has %v, %v", children, err)
		}
		if err := r.endKeeper(ctx); err != nil {
			r.t.Error(err)
		}
	}
	if r.Store != nil {
		if err := r.Store.Close(); err != nil {
			r.t.Error(err)
		}
	}
	if r.Images != nil {
		if err := r.Images.Close(); err != nil {
			r.t.Error(err)
		}
	}
	if err := os.RemoveAll(r.Data); err != nil {
		r.t.Error(err)
	}
}

// endKeeper returns when the keeper's process has ended: until then it has files of the rig's folder open.
func (r *Rig) endKeeper(ctx context.Context) error {
	pidfd, err := unix.PidfdOpen(r.keeper.Info().PID, 0)
	if err != nil {
		return err
	}
	defer unix.Close(pidfd)
	if err := r.keeper.Quit(ctx); err != nil {
		return err
	}
	const patience = 10_000 // ms
	for {
		switch n, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, patience); {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return fmt.Errorf("wait for the keeper's end: %w", err)
		case n == 0:
			return errors.New("the keeper quit, and its process has not ended")
		default:
			return nil
		}
	}
}

// kernelIsClean looks for the engine's tag in the kernel, without asking the engine.
func (r *Rig) kernelIsClean() {
	tag := engine.Tag(r.Data)
	links, err := filepath.Glob("/sys/class/net/nr" + tag + "*")
	if err != nil || len(links) != 0 {
		r.t.Errorf("links left: %v, %v", links, err)
	}
	cgroups, err := filepath.Glob("/sys/fs/cgroup/*/naru-" + tag)
	if err != nil || len(cgroups) != 0 {
		r.t.Errorf("cgroups left: %v, %v", cgroups, err)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil || strings.Contains(string(mounts), r.Data) {
		r.t.Errorf("mounts left below %s, %v", r.Data, err)
	}
}
