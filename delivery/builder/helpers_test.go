package builder

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"naru/engine/image"
	"naru/naru"
	"naru/store"
)

// chrootRunner runs steps in a chroot: enough of a sandbox to test what surrounds it.
type chrootRunner struct {
	dir string

	mu    sync.Mutex
	steps []Step
}

func (c *chrootRunner) ran() []Step {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.steps)
}

func (c *chrootRunner) RunStep(ctx context.Context, s Step) (status int, err error) {
	c.mu.Lock()
	c.steps = append(c.steps, s)
	c.mu.Unlock()
	root := s.Rootfs.Upper
	undo := &undoList{}
	defer undo.run()
	if len(s.Rootfs.Lower) > 0 {
		if root, err = os.MkdirTemp(c.dir, "root"); err != nil {
			return 0, err
		}
		opts := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s,"+image.MountOption, strings.Join(s.Rootfs.Lower, ":"), s.Rootfs.Upper, s.Rootfs.Work)
		if err := unix.Mount("overlay", root, "overlay", 0, opts); err != nil {
			return 0, fmt.Errorf("mount overlay %s: %w", opts, err)
		}
		undo.add(func() error { return errors.Join(unix.Unmount(root, unix.MNT_DETACH), os.Remove(root)) })
	}
	for _, m := range s.Mounts {
		target := filepath.Join(root, m.Destination)
		if st, err := os.Stat(m.Source); err == nil && !st.IsDir() {
			os.MkdirAll(filepath.Dir(target), 0o755)
			os.WriteFile(target, nil, 0o644)
		} else {
			os.MkdirAll(target, 0o755)
		}
		if m.Type == "tmpfs" {
			err = unix.Mount("tmpfs", target, "tmpfs", 0, "")
		} else {
			err = unix.Mount(m.Source, target, "", unix.MS_BIND|unix.MS_REC, "")
		}
		if err != nil {
			return 0, fmt.Errorf("mount %s: %w", m.Destination, err)
		}
		if slices.Contains(m.Options, "ro") {
			if err := unix.Mount("", target, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""); err != nil {
				return 0, err
			}
		}
		undo.add(func() error { return unix.Unmount(target, unix.MNT_DETACH) })
	}
	for _, dir := range []string{"/proc", "/dev"} {
		target := filepath.Join(root, dir)
		os.MkdirAll(target, 0o755)
		if err := unix.Mount(dir, target, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			return 0, err
		}
		undo.add(func() error { return unix.Unmount(target, unix.MNT_DETACH) })
	}
	args := slices.Clone(s.Process.Args)
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	if !strings.Contains(args[0], "/") {
		cmd.Path, cmd.Err = "/bin/"+args[0], nil
	}
	cmd.Env, cmd.Dir, cmd.Stdout, cmd.Stderr = s.Process.Env, s.Process.Cwd, s.Stdout, s.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root, Pdeathsig: syscall.SIGKILL,
		Credential: &syscall.Credential{Uid: s.Process.User.UID, Gid: s.Process.User.GID}}
	err = cmd.Run()
	var exit *exec.ExitError
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	if errors.As(err, &exit) {
		return exit.ExitCode(), nil
	}
	return 0, err
}

// world is a builder with all around it.
type world struct {
	*Builder
	dir    string
	images *image.Store
	store  *store.Store
	runner *chrootRunner
	root   string // the app's folder
}

func newWorld(t testing.TB) *world {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: it mounts overlays")
	}
	w := openWorld(t, t.TempDir())
	t.Cleanup(func() { w.close(t); checkMounts(t, w.dir) })
	return w
}

func openWorld(t testing.TB, dir string) *world {
	t.Helper()
	runner := &chrootRunner{dir: dir}
	w := openWorldWith(t, dir, runner)
	w.runner = runner
	return w
}

func openWorldWith(t testing.TB, dir string, steps StepRunner) *world {
	t.Helper()
	w := &world{dir: dir, root: filepath.Join(dir, "app")}
	ctx := t.Context()
	var err error
	if w.images, err = image.Open(ctx, filepath.Join(dir, "images")); err != nil {
		t.Fatal(err)
	}
	if w.store, err = store.Open(ctx, filepath.Join(dir, "naru.db")); err != nil {
		t.Fatal(err)
	}
	if w.Builder, err = New(ctx, Config{Dir: filepath.Join(dir, "builder"), Images: w.images, Store: w.store, Steps: steps}); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(w.root, 0o755); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) close(t testing.TB) {
	if err := errors.Join(w.Builder.Close(), w.images.Close(), w.store.Close()); err != nil {
		t.Error(err)
	}
}

// checkMounts checks that nothing is mounted below dir.
func checkMounts(t testing.TB, dir string) {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if strings.Contains(line, dir) {
			t.Errorf("mount is left: %s", line)
		}
	}
}

// busybox imports a small image with a shell.
func (w *world) busybox(t testing.TB) {
	t.Helper()
	program, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Skip("needs Debian's busybox-static: ", err)
	}
	var b bytes.Buffer
	tw := tar.NewWriter(&b)
	for _, d := range []string{"bin/", "etc/", "tmp/", "dev/", "proc/", "root/"} {
		tw.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: d, Mode: 0o755})
	}
	tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "bin/busybox", Mode: 0o755, Size: int64(len(program))})
	tw.Write(program)
	for _, l := range []string{"sh", "cat", "echo", "mkdir", "rm", "ls", "id", "touch", "seq", "sleep", "stat", "false", "true", "mv"} {
		tw.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: "bin/" + l, Linkname: "busybox"})
	}
	passwd := "root:x:0:0::/root:/bin/sh\napp:x:1000:1000::/:/bin/sh\n"
	tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "etc/passwd", Mode: 0o644, Size: int64(len(passwd))})
	tw.Write([]byte(passwd))
	tw.Close()
	if _, err := w.images.Import(t.Context(), &b, "busybox"); err != nil {
		t.Fatal(err)
	}
}

func (w *world) write(t testing.TB, name, content string) {
	t.Helper()
	p := filepath.Join(w.root, name)
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func request(service naru.ServiceName, spec naru.BuildSpec) Request {
	if spec.Context == "" {
		spec.Context = "."
	}
	if spec.Kind == "" {
		spec.Kind = naru.BuildDockerfile
	}
	return Request{AppEnv: naru.AppEnv{App: "shop", Environment: "production"},
		Service: naru.ServiceSpec{Name: service, Build: &spec}}
}

// build builds by a session on the app's folder.
func (w *world) build(ctx context.Context, req Request, events func(Progress)) (d naru.Digest, err error) {
	err = w.WithFolder(ctx, w.root, func(ctx context.Context, id string) error {
		req.SessionID = id
		d, err = w.Build(ctx, req, events)
		return err
	})
	return d, err
}

func (w *world) mustBuild(t testing.TB, req Request) naru.Digest {
	t.Helper()
	d, err := w.build(t.Context(), req, nil)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// read returns a file of an image by way of a root file system made from it.
func (w *world) read(t testing.TB, d naru.Digest, name string) string {
	t.Helper()
	b, err := w.readFile(t, d, name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func (w *world) readFile(t testing.TB, d naru.Digest, name string) ([]byte, error) {
	t.Helper()
	root, err := w.images.Prepare(t.Context(), "read", d)
	if err != nil {
		t.Fatal(err)
	}
	defer w.images.Release(t.Context(), "read")
	e := &executor{mounts: filepath.Join(w.dir, "builder", "mounts")}
	var b []byte
	verr := e.withView(root, func(dir string) error {
		b, err = fs.ReadFile(os.DirFS(dir), name)
		return nil
	})
	if verr != nil {
		t.Fatal(verr)
	}
	return b, err
}

// run starts a program of an image and returns what it says.
func (w *world) run(t testing.TB, d naru.Digest, args ...string) string {
	t.Helper()
	root, err := w.images.Prepare(t.Context(), "run", d)
	if err != nil {
		t.Fatal(err)
	}
	defer w.images.Release(t.Context(), "run")
	img, err := w.images.Get(t.Context(), string(d))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	status, err := w.runner.RunStep(t.Context(), Step{ID: "run", Rootfs: root, Stdout: &out, Stderr: &out,
		Process: &specs.Process{Args: args, Env: img.Config.Env, Cwd: "/"}})
	if err != nil || status != 0 {
		t.Fatalf("run %v: %d %v %s", args, status, err, &out)
	}
	return out.String()
}

// builds are those of an app in an environment, newest first.
func (w *world) builds(t *testing.T, ae naru.AppEnv) (list []naru.Build) {
	t.Helper()
	err := w.cfg.Store.View(t.Context(), func(tx *store.Tx) (err error) {
		list, err = queryBuilds(tx, `SELECT build_json FROM builds WHERE app = ? AND environment = ? ORDER BY id DESC`, ae.App, ae.Environment)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}
