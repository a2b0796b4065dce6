package builder

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"naru/engine/sandbox"
	"naru/naru"
)

// sandboxRunner runs steps as the engine does, in a sandbox with a user namespace, but without a network.
type sandboxRunner struct{ local *sandbox.Local }

func newSandboxRunner(t testing.TB) *sandboxRunner {
	t.Helper()
	program := filepath.Join(t.TempDir(), "init")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", program, "naru/engine/sandbox/testdata/init")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build the init: %v %s", err, out)
	}
	f, err := os.Open(program)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		f.Close()
		if err := sandbox.RemoveCgroup(context.WithoutCancel(t.Context()), stepGroup()); err != nil {
			t.Error(err)
		}
	})
	return &sandboxRunner{&sandbox.Local{Exe: f}}
}

// stepGroup is the cgroup that the steps of this process's tests run under.
func stepGroup() string { return fmt.Sprintf("/naru-build-test-%d", os.Getpid()) }

func (r *sandboxRunner) RunStep(ctx context.Context, s Step) (status int, err error) {
	ids := []specs.LinuxIDMapping{{ContainerID: 0, HostID: 1 << 20, Size: 1 << 16}}
	spec, err := sandbox.DefaultSpec(sandbox.Defaults{Args: s.Process.Args, Env: s.Process.Env, Cwd: s.Process.Cwd,
		User: s.Process.User, ReadOnly: s.ReadOnly, UIDMap: ids, GIDMap: ids})
	if err != nil {
		return 0, err
	}
	for _, m := range s.Mounts {
		var fs unix.Statfs_t
		if m.Type == "bind" && unix.Statfs(m.Source, &fs) == nil && fs.Type != unix.OVERLAYFS_SUPER_MAGIC {
			m.UIDMappings, m.GIDMappings = ids, ids
		}
		spec.Mounts = append(spec.Mounts, m)
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		return 0, err
	}
	defer null.Close()
	out, in, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	var g errgroup.Group
	g.Go(func() error { _, err := io.Copy(s.Stdout, out); return errors.Join(err, out.Close()) })
	group := stepGroup()
	box, err := sandbox.Start(ctx, sandbox.Config{ID: s.ID, Spec: spec, Files: [3]*os.File{null, in, in},
		Rootfs: sandbox.Rootfs{Lower: s.Rootfs.Lower, Upper: s.Rootfs.Upper, Work: s.Rootfs.Work}, CgroupPath: group + "/" + s.ID}, r.local)
	in.Close()
	if err != nil {
		return 0, errors.Join(err, g.Wait())
	}
	defer box.Close()
	exit, err := r.local.Wait(ctx, box)
	err = errors.Join(err, sandbox.RemoveCgroup(context.WithoutCancel(ctx), group+"/"+s.ID))
	return exit.Code, errors.Join(err, g.Wait())
}

// TestInSandbox builds with steps that run as they will in production: in a user namespace, on idmapped layers.
func TestInSandbox(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: it makes namespaces and mounts")
	}
	w := openWorldWith(t, t.TempDir(), newSandboxRunner(t))
	defer func() { w.close(t); checkMounts(t, w.dir) }()
	w.busybox(t)
	w.write(t, "data/x", "from context")
	w.write(t, "Dockerfile", `FROM busybox AS other
RUN mkdir /d && echo old >/d/old
RUN rm -r /d && mkdir /d && echo new >/d/new
FROM busybox
COPY --chown=1000 data /data
RUN echo root >/by-root && touch /by-app && busybox chown 1000:1000 /by-app && echo more >>/data/x
USER app
RUN --mount=type=cache,target=/cache,uid=1000 echo one >>/cache/log && id -u >/data/../by-app
USER root
RUN --mount=type=cache,target=/cache,uid=1000 --mount=type=bind,from=other,source=/d,target=/d \
    --mount=type=tmpfs,target=/scratch --mount=type=bind,source=data,target=/context \
    ls /d >/list && cat /cache/log >/log && cat /context/x >/context-x && touch /scratch/y
COPY --from=other /d /d
`)
	d := w.mustBuild(t, request("web", naru.BuildSpec{}))
	for name, want := range map[string]string{"by-root": "root\n", "by-app": "1000\n", "data/x": "from contextmore\n", "list": "new\n", "log": "one\n", "context-x": "from context", "d/new": "new\n"} {
		if got := w.read(t, d, name); got != want {
			t.Errorf("%s holds %q, want %q", name, got, want)
		}
	}
	if _, err := w.readFile(t, d, "d/old"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what another stage removed was copied from it: %v", err)
	}
	root, err := w.images.Prepare(t.Context(), "owners", d)
	if err != nil {
		t.Fatal(err)
	}
	defer w.images.Release(t.Context(), "owners")
	e := &executor{mounts: filepath.Join(w.dir, "builder", "mounts")}
	err = e.withView(root, func(dir string) error {
		for name, want := range map[string]uint32{"by-root": 0, "by-app": 1000, "data/x": 1000} {
			var st unix.Stat_t
			if err := unix.Lstat(filepath.Join(dir, name), &st); err != nil || st.Uid != want {
				t.Errorf("%s belongs to %d (%v), want %d", name, st.Uid, err, want)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	w.write(t, "Dockerfile", "FROM busybox\nRUN nosuch-program\n")
	if _, err := w.build(t.Context(), request("web", naru.BuildSpec{}), nil); err == nil || !strings.Contains(err.Error(), "127") {
		t.Errorf("unknown program: %v", err)
	}
}
