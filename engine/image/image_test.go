package image

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/platforms"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"naru/naru"
)

func open(t testing.TB) *Store {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: layers are extracted with their owners")
	}
	s, err := Open(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

type file struct{ name, body string }

func tarOf(t testing.TB, files ...file) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		h := &tar.Header{Name: f.name, Mode: 0o755, Size: int64(len(f.body)), Typeflag: tar.TypeReg}
		if strings.HasSuffix(f.name, "/") {
			h.Typeflag = tar.TypeDir
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, f.body); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gz(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	w.Write(b)
	w.Close()
	return out.Bytes()
}

func zst(b []byte) []byte {
	w, _ := zstd.NewWriter(nil)
	return w.EncodeAll(b, nil)
}

func toJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func sum(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

// blobs are the parts of an image as a registry or an OCI layout holds them.
type blobs struct {
	config, manifest, index string
	layers                  [][]byte
}

func imageOf(arch string, layers ...[]byte) blobs {
	img := ocispec.Image{Platform: ocispec.Platform{OS: "linux", Architecture: arch}}
	img.Config.Env = []string{"A=b"}
	img.RootFS.Type = "layers"
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest}
	b := blobs{}
	for _, l := range layers {
		img.RootFS.DiffIDs = append(img.RootFS.DiffIDs, digest.FromBytes(l))
		z := gz(l)
		b.layers = append(b.layers, z)
		m.Layers = append(m.Layers, ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayerGzip, Digest: digest.FromBytes(z), Size: int64(len(z))})
	}
	b.config = toJSON(img)
	m.Config = ocispec.Descriptor{MediaType: ocispec.MediaTypeImageConfig, Digest: digest.FromString(b.config), Size: int64(len(b.config))}
	b.manifest = toJSON(m)
	b.index = toJSON(ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, Manifests: []ocispec.Descriptor{{
		MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString(b.manifest), Size: int64(len(b.manifest)),
		Annotations: map[string]string{ocispec.AnnotationRefName: "example.org/app:v1"},
	}}})
	return b
}

func (b blobs) ociLayout(t testing.TB) []byte {
	files := []file{{"blobs/", ""}, {"blobs/sha256/", ""}}
	for _, blob := range append([][]byte{[]byte(b.config), []byte(b.manifest)}, b.layers...) {
		files = append(files, file{"blobs/sha256/" + sum(blob), string(blob)})
	}
	return tarOf(t, append(files, file{"index.json", b.index}, file{"oci-layout", `{"imageLayoutVersion":"1.0.0"}`})...)
}

func dockerSave(t testing.TB, layerName string, layer []byte, tags ...string) []byte {
	config := toJSON(map[string]any{"os": "linux", "architecture": platforms.DefaultSpec().Architecture,
		"config": map[string]any{"Cmd": []string{"/x"}, "Healthcheck": map[string]any{"Test": []string{"CMD", "/ok"}, "Timeout": 3e9}}, "rootfs": map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + sum(layer)}}})
	name := sum([]byte(config)) + ".json"
	return tarOf(t, file{layerName, string(layer)}, file{name, config},
		file{"manifest.json", toJSON([]any{map[string]any{"Config": name, "RepoTags": tags, "Layers": []string{layerName}}})})
}

func mustImport(t *testing.T, s *Store, b []byte, name string) Image {
	t.Helper()
	list, err := s.Import(t.Context(), bytes.NewReader(b), name)
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != 1 {
		t.Fatalf("imported %d images, want 1", len(list))
	}
	return list[0]
}

func readIn(t *testing.T, fs Rootfs, name string) string {
	t.Helper()
	for _, dir := range fs.Lower {
		if b, err := os.ReadFile(filepath.Join(dir, name)); err == nil {
			return string(b)
		}
	}
	t.Fatalf("no %s in %v", name, fs.Lower)
	return ""
}

var here = platforms.DefaultSpec().Architecture

func TestImportKinds(t *testing.T) {
	tree := tarOf(t, file{"etc/", ""}, file{"etc/hello", "hi"})
	oci := imageOf(here, tree)
	for name, c := range map[string]struct {
		archive []byte
		name    string
		want    string
	}{
		"tree":              {tree, "busybox", "busybox:latest"},
		"tree gzip":         {gz(tree), "example.org/x:1", "example.org/x:1"},
		"tree zstd":         {zst(tree), "x", "x:latest"},
		"oci layout":        {oci.ociLayout(t), "", "example.org/app:v1"},
		"oci layout gzip":   {gz(oci.ociLayout(t)), "", "example.org/app:v1"},
		"oci layout named":  {oci.ociLayout(t), "other", "other:latest"},
		"docker save":       {dockerSave(t, strings.Repeat("ab", 32)+"/layer.tar", tree, "app:v2"), "", "app:v2"},
		"odd layer name":    {dockerSave(t, "layers/base.tar", tree, "odd:1"), "", "odd:1"},
		"docker save named": {dockerSave(t, "blobs/sha256/"+sum(tree), tree, "app:v2"), "mine:3", "mine:3"},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			img := mustImport(t, s, c.archive, c.name)
			if !slices.Equal(img.Names, []string{c.want}) {
				t.Errorf("names %q, want %q", img.Names, c.want)
			}
			fs, err := s.Prepare(t.Context(), "c1", img.Digest)
			if err != nil {
				t.Fatal(err)
			}
			if got := readIn(t, fs, "etc/hello"); got != "hi" {
				t.Errorf("file reads %q", got)
			}
		})
	}
}

func TestBadImportsLeaveNothing(t *testing.T) {
	tree := tarOf(t, file{"etc/", ""}, file{"etc/hello", "hi"})
	good := imageOf(here, tree).ociLayout(t)
	wrongLayer := imageOf(here, tree)
	wrongLayer.layers[0] = append(bytes.Clone(wrongLayer.layers[0]), 0)
	missing := imageOf(here, tree)
	missing.layers = nil
	liar := imageOf(here, tree, tree)
	liar.config = strings.Replace(liar.config, sum(tree), strings.Repeat("0", 64), 1)
	liar.manifest = strings.Replace(liar.manifest, string(digest.FromString(imageOf(here, tree, tree).config)), string(digest.FromString(liar.config)), 1)
	liar.index = strings.Replace(liar.index, string(digest.FromString(imageOf(here, tree, tree).manifest)), string(digest.FromString(liar.manifest)), 1)
	for name, c := range map[string]struct {
		archive []byte
		name    string
		want    string
	}{
		"empty":         {nil, "x", "empty"},
		"text":          {[]byte(strings.Repeat("hello ", 200)), "x", "tar"},
		"no entries":    {tarOf(t), "x", "empty"},
		"cut tree":      {tree[:700], "x", "unexpected EOF"},
		"cut gzip":      {gz(tree)[:40], "x", "EOF"},
		"tree unnamed":  {tree, "", "with a name"},
		"bad name":      {tree, "UPPER", "lowercase"},
		"cut layout":    {good[:len(good)-2000], "", "image"},
		"wrong layer":   {wrongLayer.ociLayout(t), "", "missing"},
		"missing layer": {missing.ociLayout(t), "", "missing"},
		"wrong diff id": {liar.ociLayout(t), "", "its config says"},
		"wrong machine": {imageOf("s390x", tree).ociLayout(t), "", "s390x"},
		"not an image":  {tarOf(t, file{"manifest.json", "{}"}), "", "image archive"},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			_, err := s.Import(t.Context(), bytes.NewReader(c.archive), c.name)
			if err == nil {
				t.Fatal("no error")
			}
			t.Log(err)
			if naru.CodeOf(err) != naru.InvalidArgument || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v (%s), want invalid_argument with %q", err, naru.CodeOf(err), c.want)
			}
			checkEmpty(t, s)
		})
	}
}

// checkEmpty checks that after a collection the store holds nothing at all.
func checkEmpty(t *testing.T, s *Store) {
	t.Helper()
	if err := s.Collect(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx := inNamespace(t.Context())
	s.content.Walk(ctx, func(i content.Info) error { t.Errorf("blob %s is left", i.Digest); return nil })
	s.snapshots.Walk(ctx, func(_ context.Context, i snapshots.Info) error { t.Errorf("snapshot %s is left", i.Name); return nil })
	if st, _ := s.content.ListStatuses(ctx); len(st) > 0 {
		t.Errorf("partial blobs are left: %v", st)
	}
	if l, _ := s.leases.List(ctx); len(l) > 0 {
		t.Errorf("leases are left: %v", l)
	}
	if l, _ := s.List(t.Context()); len(l) > 0 {
		t.Errorf("images are left: %v", l)
	}
}

func TestNames(t *testing.T) {
	s := open(t)
	a := mustImport(t, s, tarOf(t, file{"a", "1"}), "busybox")
	b := mustImport(t, s, tarOf(t, file{"b", "2"}), "example.org/b")
	if err := s.Tag(t.Context(), a.Digest, "alias:1"); err != nil {
		t.Fatal(err)
	}
	for _, ref := range []string{"busybox", "docker.io/library/busybox:latest", "alias:1", string(a.Digest),
		a.Digest.Short(), "busybox@" + string(a.Digest)} {
		img, err := s.Get(t.Context(), ref)
		if err != nil {
			t.Fatal(err)
		}
		if img.Digest != a.Digest || !slices.Equal(img.Names, []string{"alias:1", "busybox:latest"}) {
			t.Errorf("get %s: %s %v", ref, img.Digest, img.Names)
		}
	}
	list, err := s.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != 2 || list[0].Digest != a.Digest || list[1].Digest != b.Digest {
		t.Errorf("list: %v", list)
	}
	if err := s.Remove(t.Context(), "busybox"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(t.Context(), "busybox"); naru.CodeOf(err) != naru.NotFound {
		t.Errorf("get a removed name: %v", err)
	}
	if err := s.Remove(t.Context(), string(a.Digest)); err != nil {
		t.Fatal(err)
	}
	if err := s.Remove(t.Context(), "example.org/b"); err != nil {
		t.Fatal(err)
	}
	for _, ref := range []string{"nosuch", "abcdef123456", string(b.Digest), "b@ad"} {
		if ref == string(b.Digest) {
			checkEmpty(t, s)
		}
		_, err := s.Get(t.Context(), ref)
		if c := naru.CodeOf(err); c != naru.NotFound && c != naru.InvalidArgument {
			t.Errorf("get %q: %v", ref, err)
		}
	}
}

func TestRootfsLifecycle(t *testing.T) {
	s := open(t)
	img := mustImport(t, s, imageOf(here, tarOf(t, file{"a", "lower"}), tarOf(t, file{"b", "upper"}, file{"a", "new"})).ociLayout(t), "")
	fs, err := s.Prepare(t.Context(), "c1", img.Digest)
	if err != nil {
		t.Fatal(err)
	}
	again, err := s.Prepare(t.Context(), "c1", img.Digest)
	if err != nil || again.Upper != fs.Upper {
		t.Errorf("prepare again: %v %v, want %v", again, err, fs)
	}
	if len(fs.Lower) != 2 || readIn(t, fs, "a") != "new" {
		t.Errorf("lower dirs are not top first: %v", fs.Lower)
	}
	mountAndWrite(t, fs)
	if err := s.Remove(t.Context(), "example.org/app:v1"); err != nil {
		t.Fatal(err)
	}
	if err := s.Collect(t.Context()); err != nil {
		t.Fatal(err)
	}
	if readIn(t, fs, "b") != "upper" { // in use: must survive
		t.Error("lower layer is gone")
	}
	if again, err := s.Prepare(t.Context(), "c1", img.Digest); err != nil || again.Upper != fs.Upper {
		t.Errorf("prepare again, of an image that lost its name: %v %v", again, err)
	}
	if keys, _ := s.Snapshots(t.Context()); !slices.Equal(keys, []string{"c1"}) {
		t.Errorf("snapshots %v", keys)
	}
	for range 2 {
		if err := s.Release(t.Context(), "c1"); err != nil {
			t.Fatal(err)
		}
	}
	checkEmpty(t, s)
	if _, err := os.Stat(fs.Upper); !os.IsNotExist(err) {
		t.Errorf("upper dir is left on disk: %v", err)
	}
}

func mountAndWrite(t *testing.T, fs Rootfs) {
	t.Helper()
	dir := t.TempDir()
	opts := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", strings.Join(fs.Lower, ":"), fs.Upper, fs.Work)
	if err := unix.Mount("overlay", dir, "overlay", 0, opts); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(dir, 0)
	if err := os.WriteFile(filepath.Join(dir, "written"), []byte("x"), 0o644); err != nil {
		t.Error(err)
	}
}

// TestOpaqueFolders has an upper layer that replaces a folder of the lower one, and looks at it by both kinds of overlay.
func TestOpaqueFolders(t *testing.T) {
	s := open(t)
	lower := tarOf(t, file{"d/", ""}, file{"d/old", "x"}, file{"e", "x"})
	upper := tarOf(t, file{"d/", ""}, file{"d/.wh..wh..opq", ""}, file{"d/new", "x"}, file{".wh.e", ""})
	img := mustImport(t, s, imageOf(here, lower, upper).ociLayout(t), "")
	root, err := s.Prepare(t.Context(), "c1", img.Digest)
	if err != nil {
		t.Fatal(err)
	}
	for _, options := range []string{"lowerdir=", MountOption + ",lowerdir="} {
		dir := t.TempDir()
		if err := unix.Mount("overlay", dir, "overlay", unix.MS_RDONLY, options+strings.Join(root.Lower, ":")); err != nil {
			t.Fatal(err)
		}
		entries, err := os.ReadDir(filepath.Join(dir, "d"))
		if err != nil || len(entries) != 1 || entries[0].Name() != "new" {
			t.Errorf("with %s the folder holds %v (%v), want only new", options, entries, err)
		}
		if _, err := os.Stat(filepath.Join(dir, "e")); !os.IsNotExist(err) {
			t.Errorf("with %s the removed file is there: %v", options, err)
		}
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	}
}

func TestImageWithoutLayers(t *testing.T) {
	s := open(t)
	img := mustImport(t, s, imageOf(here).ociLayout(t), "empty")
	fs, err := s.Prepare(t.Context(), "c1", img.Digest)
	if err != nil {
		t.Fatal(err)
	}
	if len(fs.Lower) != 1 {
		t.Fatalf("lower dirs %v, want one", fs.Lower)
	}
	mountAndWrite(t, fs)
	if _, err := s.Prepare(t.Context(), "c2", img.Digest); err != nil {
		t.Error(err)
	}
}

func TestRunFreesWhatWasReleased(t *testing.T) {
	s := open(t)
	img := mustImport(t, s, tarOf(t, file{"a", "1"}), "x")
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()
	running.Go(func() { _ = s.Run(ctx, slog.New(slog.NewTextHandler(t.Output(), nil))) }) // always nil
	fs, err := s.Prepare(t.Context(), "c1", img.Digest)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Release(t.Context(), "c1"); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * collectDelay); ; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(fs.Upper); os.IsNotExist(err) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the space of a released root file system does not come back")
		}
	}
}

func TestPinKeeps(t *testing.T) {
	s := open(t)
	img := mustImport(t, s, tarOf(t, file{"a", "1"}), "x")
	if err := s.Pin(t.Context(), "release/app/1", img.Digest); err != nil {
		t.Fatal(err)
	}
	if err := s.Pin(t.Context(), "release/app/1", img.Digest); err != nil {
		t.Fatal(err)
	}
	if err := s.Remove(t.Context(), "x"); err != nil {
		t.Fatal(err)
	}
	if err := s.Collect(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Get(t.Context(), string(img.Digest)); err != nil || got.Digest != img.Digest {
		t.Errorf("pinned image: %v %v", got, err)
	}
	if _, err := s.Prepare(t.Context(), "c1", img.Digest); err != nil {
		t.Error(err)
	}
	if err := s.Release(t.Context(), "c1"); err != nil {
		t.Error(err)
	}
	for range 2 {
		if err := s.Pin(t.Context(), "release/app/1"); err != nil {
			t.Fatal(err)
		}
	}
	checkEmpty(t, s)
	if err := s.Pin(t.Context(), "o", img.Digest); err != nil {
		t.Errorf("pin what is gone: %v", err)
	}
}

func TestPinLetsGoOfWhatItLeavesOut(t *testing.T) {
	s := open(t)
	a, b := mustImport(t, s, tarOf(t, file{"a", "1"}), "a"), mustImport(t, s, tarOf(t, file{"b", "2"}), "b")
	for _, images := range [][]naru.Digest{{a.Digest, b.Digest}, {b.Digest}} {
		if err := s.Pin(t.Context(), "o", images...); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"a", "b"} {
		if err := s.Remove(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Collect(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(t.Context(), string(a.Digest)); naru.CodeOf(err) != naru.NotFound {
		t.Errorf("the image that was left out: %v", err)
	}
	if _, err := s.Get(t.Context(), string(b.Digest)); err != nil {
		t.Errorf("the image that was not: %v", err)
	}
}

func TestOpenTwiceFails(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := Open(t.Context(), dir); naru.CodeOf(err) != naru.FailedPrecondition {
		t.Errorf("second open: %v", err)
	}
}

func TestPull(t *testing.T) {
	s := open(t)
	img := imageOf(here, tarOf(t, file{"a", "1"}))
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, b := range append([][]byte{[]byte(img.config), []byte(img.manifest)}, img.layers...) {
			if strings.HasSuffix(r.URL.Path, sum(b)) || strings.HasSuffix(r.URL.Path, "/app/manifests/v1") && string(b) == img.manifest {
				if string(b) == img.manifest {
					w.Header().Set("Content-Type", ocispec.MediaTypeImageManifest)
				}
				w.Header().Set("Docker-Content-Digest", "sha256:"+sum(b))
				http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(b))
				return
			}
		}
		http.NotFound(w, r)
	}))
	host := strings.TrimPrefix(srv.URL, "http://")
	got, err := s.Pull(t.Context(), host+"/app:v1")
	if err != nil {
		t.Fatal(err)
	}
	if string(got.Digest) != "sha256:"+sum([]byte(img.manifest)) || got.Config.Env[0] != "A=b" {
		t.Errorf("pulled %v", got)
	}
	_, err = s.Pull(t.Context(), host+"/nosuch")
	t.Log(err)
	if naru.CodeOf(err) != naru.NotFound {
		t.Errorf("pull what is not there: %v", err)
	}
	srv.Close()
	_, err = s.Pull(t.Context(), host+"/app:v1")
	t.Log(err)
	if naru.CodeOf(err) != naru.Unavailable {
		t.Errorf("pull from nowhere: %v", err)
	}
}

func FuzzLooksLikeImages(f *testing.F) {
	tree := tarOf(f, file{"etc/", ""}, file{"etc/hello", "hi"})
	f.Add(tree)
	f.Add(dockerSave(f, "blobs/sha256/"+sum(tree), tree, "app:v2"))
	f.Fuzz(func(t *testing.T, b []byte) {
		looksLikeImages(b)
		scanTree(bytes.NewReader(b))
	})
}

// FuzzImport: an archive is taken, or refused as one that is wrong.
func FuzzImport(f *testing.F) {
	tree := tarOf(f, file{"etc/", ""}, file{"etc/hello", "hi"})
	for _, archive := range [][]byte{
		tree, gz(tree), imageOf(here, tree).ociLayout(f), dockerSave(f, "layer.tar", tree, "app:v2"),
		tarOf(f, file{"index.json", "{}"}), tarOf(f, file{"manifest.json", "[]"}), tarOf(f, file{"oci-layout", "{}"}, file{"index.json", `{"manifests":[{}]}`}),
	} {
		f.Add(archive)
	}
	s := open(f)
	f.Fuzz(func(t *testing.T, archive []byte) {
		if _, err := s.Import(t.Context(), bytes.NewReader(archive), "x"); err != nil && naru.CodeOf(err) != naru.InvalidArgument {
			t.Error(err)
		}
	})
}

// FuzzNormalize: a name in full is its own full name, and the short spelling for people means the same.
func FuzzNormalize(f *testing.F) {
	for _, name := range []string{"busybox", "a/b:c", "localhost:5000/x@sha256:" + strings.Repeat("0", 64), "docker.io/library/web:latest"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		full, err := Normalize(name)
		if err != nil {
			return
		}
		for _, spelling := range []string{full, Familiar(full)} {
			if again, err := Normalize(spelling); err != nil || again != full {
				t.Errorf("%q is %q, whose %q is %q: %v", name, full, spelling, again, err)
			}
		}
	})
}

func FuzzManifestType(f *testing.F) {
	f.Add([]byte(imageOf("amd64", nil).manifest))
	f.Add([]byte(imageOf("amd64", nil).index))
	f.Fuzz(func(t *testing.T, b []byte) { manifestType(b) })
}
