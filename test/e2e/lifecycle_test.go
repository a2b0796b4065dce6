package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"naru/internal/testkit"
)

const forever = "trap 'exit 0' TERM; while :; do sleep 0.05; done"

// state waits until the container is in a state.
func state(t *testing.T, d *testkit.Daemon, name, want string) {
	t.Helper()
	testkit.Eventually(t, 20*time.Second, name+" is "+want, func() error {
		if got := strings.TrimSpace(d.OK("container", "inspect", "-f", "{{.State}}", name)); got != want {
			return fmt.Errorf("it is %s", got)
		}
		return nil
	})
}

func TestCreateStartWaitAndAttach(t *testing.T) {
	d := start(t)
	before := d.Kernel()
	d.OK("container", "create", "--name", "job", "-i", busybox, "sh", "-c", "read line; echo got $line; exit 6")
	state(t, d, "job", "created")
	if r := d.NaruIn("", []byte("this\n"), "container", "start", "-ai", "job"); r.Code != 6 || r.Stdout != "got this\n" {
		t.Errorf("start -ai: %v", r)
	}
	if out := d.OK("container", "wait", "job"); out != "6\n" {
		t.Errorf("wait prints %q", out)
	}
	d.OK("container", "start", "job")
	if r := d.NaruIn("", []byte("that\n"), "container", "attach", "job"); r.Code != 6 || r.Stdout != "got that\n" {
		t.Errorf("attach: %v", r)
	}
	d.OK("container", "rename", "job", "task")
	d.OK("container", "rm", "task")
	d.Settles(before)
}

func TestPoliciesRestartContainers(t *testing.T) {
	d := start(t)
	r := d.Naru("container", "run", "--restart", "on-failure:2", "--name", "fails", busybox, "sh", "-c", "echo run; exit 3")
	if r.Code != 3 || r.Stdout != "run\nrun\nrun\n" {
		t.Errorf("a run and two more: %v", r)
	}
	d.OK("container", "run", "-d", "--restart", "always", "--name", "always", busybox, "sh", "-c", forever)
	d.OK("container", "run", "-d", "--restart", "unless-stopped", "--name", "unless", busybox, "sh", "-c", forever)
	d.OK("container", "stop", "-t", "0", "always", "unless")
	d.Kill9()
	d.Start()
	state(t, d, "always", "running")
	state(t, d, "unless", "exited")
	refuses(t, d.Naru("container", "run", "--restart", "sometimes", busybox, "true"), "sometimes")
	refuses(t, d.Naru("container", "run", "--rm", "--restart", "always", busybox, "true"), "removed")
}

func TestVerbsOfARunningContainer(t *testing.T) {
	d := start(t)
	before := d.Kernel()
	id := strings.TrimSpace(d.OK("container", "run", "-d", "--name", "web", "-l", "tier=front", "-p", "127.0.0.1:18931:80", "-m", "64m", busybox, "sh", "-c", forever))
	d.OK("container", "pause", "web")
	state(t, d, "web", "paused")
	d.OK("container", "unpause", "web")
	for _, filter := range []string{"name=we", "label=tier", "label=tier=front", "status=running", "ancestor=" + busybox, "id=" + id[:6]} {
		if out := d.OK("container", "ls", "-q", "--no-trunc", "--filter", filter); strings.TrimSpace(out) != id {
			t.Errorf("ls --filter %s: %q", filter, out)
		}
	}
	if out := d.OK("container", "ls", "-aq", "--filter", "label=tier=back"); out != "" {
		t.Errorf("a filter that none agrees with: %q", out)
	}
	if out := d.OK("container", "port", "web", "80"); out != "127.0.0.1:18931\n" {
		t.Errorf("port: %q", out)
	}
	if out := d.OK("container", "top", "web"); !strings.Contains(out, "trap 'exit 0' TERM") {
		t.Errorf("top:\n%s", out)
	}
	d.OK("container", "update", "-m", "48m", "--restart", "on-failure", "web")
	if out := d.OK("container", "stats", "--no-stream", "web"); !strings.Contains(out, "48MiB") {
		t.Errorf("stats:\n%s", out)
	}
	d.OK("container", "update", "--restart", "no", "web")
	d.OK("container", "restart", "-t", "0", "web")
	d.OK("container", "kill", "web")
	state(t, d, "web", "exited")
	if out := d.OK("container", "ls", "-a"); !strings.Contains(out, "exited (137, stopped by SIGKILL)") {
		t.Errorf("ls -a:\n%s", out)
	}
	if out := d.OK("container", "prune"); strings.TrimSpace(out) != id {
		t.Errorf("prune: %q", out)
	}
	d.Settles(before)
}

func TestAFollowerSeesTheEndOfWhatIsRemovedOnExit(t *testing.T) {
	d := start(t)
	for range 5 {
		r := d.Naru("container", "run", "--rm", busybox, "sh", "-c", "seq 1 3000")
		if n := strings.Count(r.Stdout, "\n"); n != 3000 || r.Code != 0 {
			t.Fatalf("%d of 3000 lines, status %d: %s", n, r.Code, r.Stderr)
		}
	}
	if left := d.Containers(); len(left) > 0 {
		t.Errorf("left: %+v", left)
	}
}
