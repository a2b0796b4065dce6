package engine_test

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"fmt"
	"runtime"
	"testing"

	"naru/engine"
	"naru/internal/testkit"
)

// savedImage is busybox as docker save writes it, with a config of its own.
func savedImage(t *testing.T, name, config string) []byte {
	t.Helper()
	tree := testkit.BusyboxRootfs(t)
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, f := range []struct{ name, body string }{
		{"layer.tar", string(tree)},
		{"config.json", fmt.Sprintf(`{"os":"linux","architecture":%q,"config":%s,"rootfs":{"type":"layers","diff_ids":["sha256:%x"]}}`,
			runtime.GOARCH, config, sha256.Sum256(tree))},
		{"manifest.json", fmt.Sprintf(`[{"Config":"config.json","RepoTags":[%q],"Layers":["layer.tar"]}]`, name)},
	} {
		if err := w.WriteHeader(&tar.Header{Name: f.name, Mode: 0o644, Size: int64(len(f.body))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(f.body)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestStopSignalOfAnImage(t *testing.T) {
	r := newRig(t)
	for name, c := range map[string]struct {
		says string
		want int // the status that a shell leaves with on the signal that it hears
	}{"a signal": {"SIGUSR1", 10}, "nothing": {"", 15}, "no signal": {"SIGNOPE", 15}} {
		t.Run(name, func(t *testing.T) {
			if _, err := r.Images.Import(t.Context(), bytes.NewReader(savedImage(t, "odd:1", fmt.Sprintf(`{"StopSignal":%q}`, c.says))), ""); err != nil {
				t.Fatal(err)
			}
			running := r.start("trap 'exit 15' TERM; trap 'exit 10' USR1; echo up; while :; do sleep 0.05; done",
				func(s *engine.ContainerSpec) { s.Image = "odd:1" })
			r.waitOutput(running.ID, "up")
			if err := r.Stop(t.Context(), running.ID, 0); err != nil {
				t.Fatal(err)
			}
			if got := r.get(running.ID); got.ExitCode != c.want {
				t.Errorf("status %d, want %d", got.ExitCode, c.want)
			}
		})
	}
}
