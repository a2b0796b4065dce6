package image

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	docker "github.com/moby/docker-image-spec/specs-go/v1"

	"naru/naru"
)

func TestHealthOfAnImage(t *testing.T) {
	for name, test := range map[string]struct {
		shell, test []string
		want        []string
	}{
		"none said":         {test: nil},
		"nothing in it":     {test: []string{}},
		"NONE":              {test: []string{"NONE"}},
		"no command":        {test: []string{"CMD"}},
		"a word nobody has": {test: []string{"FROB", "x"}},
		"words":             {test: []string{"CMD", "curl", "-f", "x"}, want: []string{"curl", "-f", "x"}},
		"a line":            {test: []string{"CMD-SHELL", "a | b"}, want: []string{"/bin/sh", "-c", "a | b"}},
		"a line, by SHELL":  {shell: []string{"/bin/bash", "-ec"}, test: []string{"CMD-SHELL", "a"}, want: []string{"/bin/bash", "-ec", "a"}},
	} {
		got := healthOf(docker.DockerOCIImageConfigExt{Shell: test.shell, Healthcheck: &docker.HealthcheckConfig{Test: test.test, Interval: time.Second, Retries: 7}})
		var want *naru.HealthCheck
		if test.want != nil {
			want = &naru.HealthCheck{Command: test.want, Interval: time.Second, Retries: 7}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// TestHealthcheckComesWithTheImage reads one as docker writes it.
func TestHealthcheckComesWithTheImage(t *testing.T) {
	img := mustImport(t, open(t), dockerSave(t, "layer.tar", tarOf(t, file{"hello", "hi"}), "app:v1"), "")
	want := &naru.HealthCheck{Command: []string{"/ok"}, Timeout: 3 * time.Second}
	if diff := cmp.Diff(want, img.Health); diff != "" || len(img.Config.Cmd) != 1 {
		t.Errorf("command %v (-want +got):\n%s", img.Config.Cmd, diff)
	}
}
