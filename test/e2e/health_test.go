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
