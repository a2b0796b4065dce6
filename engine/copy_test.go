package engine_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"naru/engine"
	"naru/naru"
)

func tarOf(t *testing.T, files map[string]string) *bytes.Buffer {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for name, content := range files {
		if err := w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o640, Uid: 1000, Gid: 1001, Size: int64(len(content)), ModTime: time.Unix(1e9, 0)}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return &b
}

func filesOf(t *testing.T, stream io.Reader) map[string]string {
	t.Helper()
	out := map[string]string{}
	for r := tar.NewReader(stream); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		out[h.Name] = string(content)
		if h.Uid != 0 && h.Uid != 1000 {
			t.Errorf("%s belongs to %d", h.Name, h.Uid)
		}
	}
}

func TestCopyInAndOutOfARunningAndAStoppedContainer(t *testing.T) {
	r := newRig(t)
	c := r.start("mkdir -p /d/sub; echo made > /d/sub/file; echo ready; " + forever)
	r.waitOutput(c.ID, "ready")
	for _, stopped := range []bool{false, true} {
		if stopped {
			if err := r.Stop(t.Context(), c.ID, -1); err != nil {
				t.Fatal(err)
			}
		}
		var out bytes.Buffer
		if err := r.CopyOut(t.Context(), c.ID, "/d", &out); err != nil {
			t.Fatal(err)
		}
		if got := filesOf(t, &out); got["d/sub/file"] != "made\n" {
			t.Errorf("stopped %v: %v", stopped, got)
		}
		if err := r.CopyIn(t.Context(), c.ID, "/d", tarOf(t, map[string]string{"kept/owner": "in"}), true); err != nil {
			t.Fatal(err)
		}
		if err := r.CopyIn(t.Context(), c.ID, "/d/sub", tarOf(t, map[string]string{"roots": "in"}), false); err != nil {
			t.Fatal(err)
		}
		if err := r.CopyOut(t.Context(), c.ID, "/nowhere", io.Discard); naru.CodeOf(err) != naru.NotFound {
			t.Errorf("a path that is not there: %v", err)
		}
		if !stopped {
			var seen bytes.Buffer
			if _, err := r.Exec(t.Context(), c.ID, engine.ExecSpec{Command: []string{"/bin/sh", "-c", "stat -c %u:%g:%a /d/kept/owner /d/sub/roots; cat /d/sub/roots"}}, engine.Streams{Stdout: &seen, Stderr: &seen}); err != nil {
				t.Fatal(err)
			}
			if seen.String() != "1000:1001:640\n0:0:640\nin" {
				t.Errorf("inside it is %q", seen.String())
			}
		}
	}
	if err := r.Start(t.Context(), c.ID); err != nil {
		t.Fatal(err)
	}
	if info, err := r.StatFile(t.Context(), c.ID, "/d/sub/roots"); err != nil || info.Size != 2 {
		t.Errorf("after a start: %+v %v", info, err)
	}
}

// A container that makes a symlink out of a folder while it is copied into must not lead the copy out of itself.
func TestASymlinkDoesNotLeadACopyOut(t *testing.T) {
	r := newRig(t)
	outside := t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "secret"), []byte("the host's"), 0o644); err != nil {
		t.Fatal(err)
	}
	swap := "mkdir /real; ln -s " + outside + " /link; ln -s / /up; echo ready; while :; do mv /real /x; mv /link /real; mv /real /link; mv /x /real; done"
	c := r.start(swap)
	r.waitOutput(c.ID, "ready")
	for range 100 {
		err := r.CopyIn(t.Context(), c.ID, "/real", tarOf(t, map[string]string{"evil": "in"}), false)
		if err != nil && naru.CodeOf(err) != naru.NotFound && naru.CodeOf(err) != naru.InvalidArgument {
			t.Logf("refused: %v", err)
		}
		var out bytes.Buffer
		if err := r.CopyOut(t.Context(), c.ID, "/real/secret", &out); err == nil {
			t.Fatalf("it gave out %q", out.String())
		}
	}
	if err := r.CopyIn(t.Context(), c.ID, "/up/up/../../../tmp", tarOf(t, map[string]string{"naru-evil": "in"}), false); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat("/tmp/naru-evil"); err == nil {
		t.Error("it wrote on the host's /tmp")
	}
	entries, err := os.ReadDir(outside)
	if err != nil || len(entries) != 1 {
		t.Errorf("outside there is %v, %v", entries, err)
	}
}

func TestANewVolumeBeginsWithWhatTheImageHas(t *testing.T) {
	r := newRig(t)
	onBin := func(s *engine.ContainerSpec) { s.Mounts = []engine.Mount{{Volume: "bin", Target: "/bin"}} }
	c := r.start("/bin/busybox stat -c %u:%a /bin; touch /bin/mine", onBin)
	if c = r.wait(c.ID); c.ExitCode != 0 || r.output(c.ID) != "0:755\n" {
		t.Fatalf("status %d, %q", c.ExitCode, r.output(c.ID))
	}
	again := r.start("test -e /bin/mine", onBin)
	if again = r.wait(again.ID); again.ExitCode != 0 {
		t.Fatal("the second container got another volume")
	}
}

func TestAVolumeIsExportedAndImported(t *testing.T) {
	r := newRig(t)
	at := func(name, sub string) func(s *engine.ContainerSpec) {
		return func(s *engine.ContainerSpec) {
			s.Mounts = []engine.Mount{{Volume: name, Subpath: sub, Target: "/data"}}
		}
	}
	r.wait(r.start("mkdir /data/sub; echo kept > /data/sub/file; chown 7:8 /data/sub/file; ln -s /etc /data/out", at("one", "")).ID)
	var backup bytes.Buffer
	if err := r.ExportVolume(t.Context(), "one", &backup); err != nil {
		t.Fatal(err)
	}
	if err := r.ImportVolume(t.Context(), "two", &backup); err != nil {
		t.Fatal(err)
	}
	c := r.start("stat -c %u:%g /data/file; cat /data/file", at("two", "sub"))
	if r.wait(c.ID); r.output(c.ID) != "7:8\nkept\n" {
		t.Fatalf("it reads %q", r.output(c.ID))
	}
	if err := r.ImportVolume(t.Context(), "two", strings.NewReader("")); naru.CodeOf(err) != naru.FailedPrecondition {
		t.Errorf("into one with data: %v", err)
	}
	out, err := r.Create(t.Context(), engine.ContainerSpec{Image: "busybox", Command: []string{"ls", "/data"}, Mounts: []engine.Mount{{Volume: "one", Subpath: "out", Target: "/data"}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Start(t.Context(), out.ID); err == nil {
		t.Error("a subpath that is a symlink led out of the volume")
	}
	if err := r.ImportVolume(t.Context(), "bad", strings.NewReader("no archive, whatever it is called")); err == nil {
		t.Error("garbage was taken")
	}
	if _, err := r.Volume(t.Context(), "bad"); naru.CodeOf(err) != naru.NotFound {
		t.Errorf("garbage left a volume: %v", err)
	}
	volumes, err := r.Volumes(t.Context())
	if err != nil || len(volumes) != 2 || len(volumes[1].UsedBy) != 1 {
		t.Errorf("%+v %v", volumes, err)
	}
	if err := r.RemoveVolume("one"); naru.CodeOf(err) != naru.FailedPrecondition {
		t.Errorf("one that is used: %v", err)
	}
}
