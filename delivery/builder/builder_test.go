package builder

import (
	"strings"
	"testing"

	"naru/naru"
)

func TestDockerfile(t *testing.T) {
	w := newWorld(t)
	w.busybox(t)
	w.write(t, "web/Dockerfile", "FROM busybox\nARG WHO=nobody\nCOPY hello /hello\nRUN echo made for $WHO >/made && id -u >/uid\nUSER app\nRUN id -u >/tmp/uid || true\nCMD [\"/bin/sh\"]\n")
	w.write(t, "web/hello", "hi")
	w.write(t, "web/secret", "do not send")
	d := w.mustBuild(t, request("web", naru.BuildSpec{Context: "web", Args: map[string]string{"WHO": "you"}}))
	if got := w.read(t, d, "hello") + w.read(t, d, "made"); got != "himade for you\n" {
		t.Errorf("image holds %q", got)
	}
	img, err := w.images.Get(t.Context(), "naru.local/shop/web:production")
	if err != nil {
		t.Fatal(err)
	}
	if img.Digest != d || strings.Join(img.Config.Cmd, " ") != "/bin/sh" || img.Config.User != "app" {
		t.Errorf("image %+v, want digest %s", img, d)
	}
	if again := w.mustBuild(t, request("web", naru.BuildSpec{Context: "web", Args: map[string]string{"WHO": "you"}})); again != d {
		t.Errorf("the same source gave %s, then %s", d, again)
	}
	if n := len(w.runner.ran()); n != 2 {
		t.Errorf("%d steps ran, want 2", n)
	}
}
