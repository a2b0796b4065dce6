package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"naru/internal/testkit"
)

func health(t *testing.T, d *testkit.Daemon, name, want string) {
	t.Helper()
	testkit.Eventually(t, 20*time.Second, name+" is "+want, func() error {
		if got := strings.TrimSpace(d.OK("container", "inspect", "-f", "{{.Health.Status}}", name)); got != want {
			return fmt.Errorf("it is %s", got)
		}
		return nil
	})
}

// TestHealthOfAContainer: the flags are docker's, the daemon's death forgets nothing, and a check that cannot be is
// refused.
func TestHealthOfAContainer(t *testing.T) {
	d := start(t)
	before := d.Kernel()
	// Asked often as long as it starts, and then not again in this test.
	id := strings.TrimSpace(d.OK("container", "run", "-d", "--name", "web", "--health-cmd", "test -e /well", "--health-interval", "1h",
		"--health-start-interval", "50ms", "--health-start-period", "1h", busybox, "sh", "-c", forever))
	health(t, d, "web", "starting")
	d.OK("container", "exec", "web", "touch", "/well")
	health(t, d, "web", "healthy")
	d.Kill9()
	d.Start()
	if out := d.OK("container", "ls"); !strings.Contains(out, "running (healthy)") {
		t.Errorf("ls prints\n%s", out)
	}
	if out := d.OK("container", "ls", "-q", "--no-trunc", "--filter", "health=healthy"); strings.TrimSpace(out) != id {
		t.Errorf("ls --filter health=healthy prints %q", out)
	}
	refuses(t, d.Naru("container", "run", "--health-interval", "1s", busybox, "true"), "what to ask")
	refuses(t, d.Naru("container", "run", "--health-http", "/healthz", busybox, "true"), "--health-http PORT/PATH")
	refuses(t, d.Naru("container", "run", "--health-cmd", "true", "--no-healthcheck", busybox, "true"), "refused")
	d.OK("container", "rm", "-f", "web")
	d.Settles(before)
}

// TestAServiceIsAskedAsItsImageSays: an image's HEALTHCHECK decides who is ready, as with compose, unless the app file says
// otherwise or wants none.
func TestAServiceIsAskedAsItsImageSays(t *testing.T) {
	d := start(t)
	ill := site("one").with(files{"Dockerfile": site("one")["Dockerfile"] + "HEALTHCHECK --interval=100ms --timeout=2s --retries=1 CMD test -e /well\n"})
	if r := d.Naru("up", ill.write(t)); r.Code == 0 || !strings.Contains(r.Stderr, "its health check does not pass") {
		t.Errorf("an image whose check fails: %v", r)
	}
	for how, more := range map[string]string{
		"wanted none":          "    healthcheck: {disable: true}\n",
		"refused in its test":  "    healthcheck: {test: [NONE]}\n",
		"asked another way":    "    healthcheck: {test: [CMD, \"true\"]}\n",
		"asked in naru's way":  "    x-naru: {health: {http: /}}\n",
		"well, as it was told": "    command: [sh, -c, touch /well; exec httpd -f -p 8080 -h /www]\n",
	} {
		if r := d.Naru("up", ill.with(files{"compose.yaml": ill["compose.yaml"] + more}).write(t)); r.Code != 0 {
			t.Errorf("%s: %v", how, r)
		}
	}
}
