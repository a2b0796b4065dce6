package builder

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/moby/buildkit/snapshot"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
	"golang.org/x/sync/errgroup"

	"naru/engine/image"
	"naru/naru"
)

func TestDockerfile(t *testing.T) {
	w := newWorld(t)
	w.busybox(t)
	w.write(t, "web/Dockerfile", "FROM busybox\nARG WHO=nobody\nCOPY hello /hello\nRUN echo made for $WHO >/made && id -u >/uid\nUSER app\nRUN id -u >/tmp/uid || true\nCMD [\"/bin/sh\"]\n")
	w.write(t, "web/hello", "hi")
	req := request("web", naru.BuildSpec{Context: "web", Args: map[string]string{"WHO": "you"}})
	d := w.mustBuild(t, req)
	if got := w.read(t, d, "hello") + w.read(t, d, "made"); got != "himade for you\n" {
		t.Errorf("image holds %q", got)
	}
	img, err := w.images.Get(t.Context(), ImageName(req.AppEnv, "web"))
	if err != nil {
		t.Fatal(err)
	}
	if img.Digest != d || strings.Join(img.Config.Cmd, " ") != "/bin/sh" || img.Config.User != "app" {
		t.Errorf("image %+v, want digest %s", img, d)
	}
	if again := w.mustBuild(t, req); again != d {
		t.Errorf("the same source gave %s, then %s", d, again)
	}
	if n := len(w.runner.ran()); n != 2 {
		t.Errorf("%d steps ran, want 2", n)
	}
	list := w.builds(t, req.AppEnv)
	if len(list) != 2 || list[0].State != naru.BuildSucceeded || list[0].Image != d || list[0].ID <= list[1].ID {
		t.Errorf("rows %+v", list)
	}
}

// TestLayersAreExtractedOnce holds the names of image.LayerSnapshot and BuildKit's together, and checks that a built
// image starts from the snapshots that its build made.
func TestLayersAreExtractedOnce(t *testing.T) {
	ids := []digest.Digest{digest.FromString("a"), digest.FromString("b")}
	if got, want := image.LayerSnapshot(ids), snapshot.LayerSnapshotID(identity.ChainID(ids)); got != want {
		t.Errorf("image calls the layers %s, BuildKit %s", got, want)
	}
	w := newWorld(t)
	w.busybox(t)
	for name, file := range map[string]string{"changed": "FROM busybox\nRUN echo 1 >/a\nRUN rm /a && mkdir /a\n", "as it is": "FROM busybox\n", "merged": "FROM busybox\nCOPY --link Dockerfile /x\n"} {
		w.write(t, "Dockerfile", file)
		d := w.mustBuild(t, request("web", naru.BuildSpec{}))
		before := w.countSnapshots(t)
		if _, err := w.images.Prepare(t.Context(), "c", d); err != nil {
			t.Fatal(err)
		}
		if n := w.countSnapshots(t) - before; n != 1 {
			t.Errorf("%s: starting the image made %d snapshots, want 1", name, n)
		}
		if err := w.images.Release(t.Context(), "c"); err != nil {
			t.Error(err)
		}
	}
}

func (w *world) countSnapshots(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(w.dir, "images", "snapshots", "snapshots"))
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// TestStepsGetLayers checks that a step gets the layers of its root file system, not a mount that BuildKit made of them.
func TestStepsGetLayers(t *testing.T) {
	w := newWorld(t)
	w.busybox(t)
	w.write(t, "Dockerfile", "FROM busybox\nRUN echo 1 >/a\nRUN echo 2 >/b\n")
	w.mustBuild(t, request("web", naru.BuildSpec{}))
	for i, s := range w.runner.ran() {
		if len(s.Rootfs.Lower) != i+1 || s.Rootfs.Upper == "" || s.Rootfs.Work == "" {
			t.Errorf("step %d has %+v, want %d layers", i+1, s.Rootfs, i+1)
		}
	}
}

func TestImageFromScratch(t *testing.T) {
	w := newWorld(t)
	w.write(t, "Dockerfile", "FROM scratch\nCOPY hello /\n")
	w.write(t, "hello", "hi")
	d := w.mustBuild(t, request("web", naru.BuildSpec{}))
	if got := w.read(t, d, "hello"); got != "hi" {
		t.Errorf("image holds %q", got)
	}
	w.write(t, "Dockerfile", "FROM scratch\nCMD [\"/x\"]\n")
	if _, err := w.images.Prepare(t.Context(), "c", w.mustBuild(t, request("web", naru.BuildSpec{}))); err != nil {
		t.Error(err)
	}
}

func TestContextFiles(t *testing.T) {
	w := newWorld(t)
	w.busybox(t)
	w.write(t, "Dockerfile", "FROM busybox\nCOPY . /src\nRUN ls -a /src /src/sub >/list\n")
	w.write(t, ".dockerignore", "secret\n**/*.log\n")
	w.write(t, "secret", "s")
	w.write(t, "sub/a.log", "s")
	w.write(t, "sub/b", "s")
	if err := os.Symlink("/etc", filepath.Join(w.root, "sub", "link")); err != nil {
		t.Fatal(err)
	}
	list := w.read(t, w.mustBuild(t, request("web", naru.BuildSpec{})), "list")
	for word, want := range map[string]bool{"secret": false, "a.log": false, "b\n": true, "link": true} {
		if strings.Contains(list, word) != want {
			t.Errorf("%q in the context: %v, want %v\n%s", word, !want, want, list)
		}
	}
}

func TestMountsOfSteps(t *testing.T) {
	w := newWorld(t)
	w.busybox(t)
	w.write(t, "data/x", "from context")
	w.write(t, "Dockerfile", `FROM busybox AS other
RUN mkdir /deep && echo from stage >/deep/y
FROM busybox
RUN --mount=type=cache,target=/cache --mount=type=tmpfs,target=/scratch --mount=type=bind,source=data,target=/data \
    --mount=type=bind,from=other,source=/deep/y,target=/y --mount=type=bind,from=other,source=/deep,target=/deep \
    echo one >>/cache/log && echo x >/scratch/x && cat /data/x /y /deep/y >/seen && ! touch /data/z
RUN --mount=type=cache,target=/cache echo two >>/cache/log && cat /cache/log >/log && ls / >/list
RUN --network=none true
RUN --mount=type=bind,target=/src [ -e /src/data/x ]
`)
	d := w.mustBuild(t, request("web", naru.BuildSpec{}))
	if got := w.read(t, d, "seen"); got != "from contextfrom stage\nfrom stage\n" {
		t.Errorf("mounts showed %q", got)
	}
	if got := w.read(t, d, "log"); got != "one\ntwo\n" {
		t.Errorf("cache holds %q", got)
	}
	list := strings.Fields(w.read(t, d, "list"))
	for _, stub := range []string{"scratch", "data", "y", "deep"} {
		if slices.Contains(list, stub) {
			t.Errorf("mount point %s stayed in the image", stub)
		}
	}
	for _, s := range w.runner.ran() {
		if want := !strings.HasSuffix(strings.Join(s.Process.Args, " "), "-c true"); s.Network != want {
			t.Errorf("%v: network %v, want %v", s.Process.Args, s.Network, want)
		}
	}
}

func TestReplacedFolderHidesTheOld(t *testing.T) {
	w := newWorld(t)
	w.busybox(t)
	w.write(t, "Dockerfile", "FROM busybox\nRUN mkdir /d && echo old >/d/old\nRUN rm -r /d && mkdir /d && echo new >/d/new\nRUN ls /d >/list\nFROM busybox\nCOPY --from=0 / /\n")
	d := w.mustBuild(t, request("web", naru.BuildSpec{}))
	if got := w.read(t, d, "list"); got != "new\n" {
		t.Errorf("the folder holds %q", got)
	}
	if _, err := w.readFile(t, d, "d/old"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the old file is in the image: %v", err)
	}
}

func TestSideBySide(t *testing.T) {
	w := newWorld(t)
	w.busybox(t)
	for _, s := range []string{"a", "b", "c"} {
		w.write(t, s+"/Dockerfile", "FROM busybox\nRUN echo shared >/shared\nCOPY who /who\nRUN cat /who >/made\n")
		w.write(t, s+"/who", s)
	}
	err := w.WithFolder(t.Context(), w.root, func(ctx context.Context, id string) error {
		var g errgroup.Group
		for _, s := range []string{"a", "b", "c"} {
			g.Go(func() error {
				req := request(naru.ServiceName(s), naru.BuildSpec{Context: s})
				req.SessionID = id
				d, err := w.Build(ctx, req, nil)
				if err == nil && w.read2(t, d, s, "made") != s {
					t.Errorf("image of %s is another's", s)
				}
				return err
			})
		}
		return g.Wait()
	})
	if err != nil {
		t.Fatal(err)
	}
}

// read2 is read with a key of its own, for use side by side.
func (w *world) read2(t *testing.T, d naru.Digest, key, name string) string {
	t.Helper()
	root, err := w.images.Prepare(t.Context(), key, d)
	if err != nil {
		t.Error(err)
		return ""
	}
	defer w.images.Release(t.Context(), key)
	for _, l := range root.Lower {
		if b, err := os.ReadFile(filepath.Join(l, name)); err == nil {
			return string(b)
		}
	}
	return ""
}

func TestCancel(t *testing.T) {
	w := newWorld(t)
	w.busybox(t)
	w.write(t, "Dockerfile", "FROM busybox\nRUN echo begun; sleep 600\n")
	ctx, cancel := context.WithCancelCause(t.Context())
	_, err := w.build(ctx, request("web", naru.BuildSpec{}), func(p Progress) {
		for _, l := range p.Logs {
			if bytes.Contains(l.Data, []byte("begun")) {
				cancel(errors.New("enough"))
			}
		}
	})
	if err == nil || !strings.Contains(err.Error(), "enough") {
		t.Errorf("canceled build: %v", err)
	}
	if list := w.builds(t, request("web", naru.BuildSpec{}).AppEnv); list[0].State != naru.BuildFailed {
		t.Errorf("rows %+v", list)
	}
	w.write(t, "Dockerfile", "FROM busybox\nRUN true\n")
	w.mustBuild(t, request("web", naru.BuildSpec{}))
}

func TestProgress(t *testing.T) {
	w := newWorld(t)
	w.busybox(t)
	w.write(t, "Dockerfile", "FROM busybox\nRUN echo hello from the step\n")
	var mu sync.Mutex
	news := make(chan Progress, 1000)
	_, err := w.build(t.Context(), request("web", naru.BuildSpec{}), func(p Progress) {
		if !mu.TryLock() {
			t.Error("two calls at a time")
			return
		}
		defer mu.Unlock()
		b, err := json.Marshal(p)
		var back Progress
		if err := errors.Join(err, json.Unmarshal(b, &back)); err != nil {
			t.Error(err)
		}
		news <- back
	})
	close(news)
	if err != nil {
		t.Fatal(err)
	}
	var steps, output strings.Builder
	for p := range news {
		for _, step := range p.Steps {
			if !step.EndedAt.IsZero() {
				fmt.Fprintln(&steps, step.Name)
			}
		}
		for _, l := range p.Logs {
			output.Write(l.Data)
		}
	}
	if !strings.Contains(steps.String(), "[2/2] RUN echo hello from the step") || output.String() != "hello from the step\n" {
		t.Errorf("ended steps\n%soutput %q", steps.String(), output.String())
	}
}

// TestSessionOverSocket has the files at the other end of a real connection, as the command line has.
func TestSessionOverSocket(t *testing.T) {
	w := newWorld(t)
	w.busybox(t)
	w.write(t, "Dockerfile", "FROM busybox\nCOPY hello /\n")
	w.write(t, "hello", "over a socket")
	l, err := net.Listen("unix", filepath.Join(w.dir, "sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s, err := OpenSession(t.Context(), w.root)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var g errgroup.Group
	g.Go(func() error {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		return w.ServeSession(t.Context(), conn) // ends because the other side goes, not because of ctx
	})
	g.Go(func() error {
		return s.Run(ctx, func(ctx context.Context) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", l.Addr().String())
		})
	})
	req := request("web", naru.BuildSpec{})
	req.SessionID = s.ID()
	d, err := w.Build(t.Context(), req, nil)
	if err != nil {
		t.Error(err)
	} else if got := w.read(t, d, "hello"); got != "over a socket" {
		t.Errorf("image holds %q", got)
	}
	stop()
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
}

func TestFoldersStayInside(t *testing.T) {
	dir := t.TempDir()
	root := filepath.Join(dir, "app")
	for _, d := range []string{"app/web", "other"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(filepath.Join(dir, "other"), filepath.Join(root, "out")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("web", filepath.Join(root, "in")); err != nil {
		t.Fatal(err)
	}
	fs := folders{root}
	for rel, want := range map[string]bool{".": true, "web": true, "in": true, "out": false, "..": false, "../other": false, "/": false, "web/../..": false, "nosuch": false} {
		if _, ok := fs.LookupDir(folderName(rel) + "-context"); ok != want {
			t.Errorf("folder %q is served: %v, want %v", rel, ok, want)
		}
	}
	for _, name := range []string{"", "context", "zz-context", folderName("web"), folderName("web") + "-other"} {
		if _, ok := fs.LookupDir(name); ok {
			t.Errorf("name %q is served", name)
		}
	}
}

func FuzzReadHello(f *testing.F) {
	var b bytes.Buffer
	if err := writeHello(&b, map[string][]string{"a": {"b"}}); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add([]byte{255, 255, 255, 255})
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, err := readHello(bytes.NewReader(b)); err == nil {
			if err := writeHello(io.Discard, m); err != nil {
				t.Error(err)
			}
		}
	})
}

func FuzzParseFolder(f *testing.F) {
	f.Add(folderName("web") + "-context")
	f.Add(sourceMark + folderName("../x") + "-context")
	f.Fuzz(func(t *testing.T, name string) {
		if got, err := parseFolder(name); err == nil && !filepath.IsLocal(got.path) {
			t.Errorf("%q leads to %q", name, got.path)
		}
	})
}

func TestPrune(t *testing.T) {
	w := newWorld(t)
	w.busybox(t)
	for _, s := range []string{"a", "b"} {
		w.write(t, s+"/Dockerfile", "FROM busybox AS x\nRUN seq 100000 >/big\nFROM busybox\nCOPY --from=x /big /"+s+"\n")
		w.mustBuild(t, request("web", naru.BuildSpec{Context: s}))
	}
	before := w.countSnapshots(t)
	freed, err := w.Prune(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.images.Collect(t.Context()); err != nil {
		t.Fatal(err)
	}
	after := w.countSnapshots(t)
	t.Logf("%d bytes; %d snapshots, then %d", freed, before, after)
	if freed == 0 || after >= before {
		t.Error("nothing was pruned")
	}
	img, err := w.images.Get(t.Context(), ImageName(request("web", naru.BuildSpec{}).AppEnv, "web"))
	if err != nil {
		t.Fatal(err)
	}
	if got := w.read(t, img.Digest, "b"); !strings.HasPrefix(got, "1\n2\n") {
		t.Error("the newest image is damaged")
	}
	if n := w.countSnapshots(t); n != after+1 && n != after { // the one that read made may await collection
		t.Errorf("reading the image extracted layers again: %d snapshots, then %d", after, n)
	}
	w.mustBuild(t, request("web", naru.BuildSpec{Context: "a"}))
}
