package faults

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"naru/internal/testkit"
)

// TestUpgradeInPlaceFailsNoRequest exchanges the daemon's program, there and back, under load on the router and on a
// published port. No request may fail, and nothing of what runs may notice.
func TestUpgradeInPlaceFailsNoRequest(t *testing.T) {
	current, next := testkit.Binary(t), buildVersion(t, "next")
	d := start(t)
	d.OK("up", site(t, "one"))
	d.OK("scale", "-a", "hello", "web=2")
	b := &box{name: "steady", port: testkit.FreePort(t), code: stopCode, want: runs}
	c, err := d.API().RunContainer(t.Context(), b.spec())
	if err != nil {
		t.Fatal(err)
	}
	b.pid = c.PID
	testkit.Eventually(t, 20*time.Second, "the published port answers", func() error { return b.answers(t.Context()) })

	load := testkit.StartLoad(t, d.HTTP, "hello.localhost", "/", 200)
	other := testkit.StartLoad(t, published(b), "any", "/name", 50)
	load.Waits(100)
	for _, program := range []string{next, current, next} {
		d.Stop()
		d.Program(program)
		d.Start()
		load.Waits(100)
	}
	load.OnlySees("one")
	other.OnlySees(b.name)
	if out := d.OK("version"); !strings.Contains(out, "daemon  next ") {
		t.Errorf("after the upgrade, naru version says\n%s", out)
	}
	d.OK("container", "stop", b.name)
	b.want = ended
	if err := b.checkLog(d.OK("container", "logs", b.name)); err != nil {
		t.Errorf("the log of a container that ran through it: %v", err)
	}
}

// buildVersion builds naru with another version string.
func buildVersion(t *testing.T, version string) string {
	t.Helper()
	testkit.RequireCommand(t, "go")
	program := filepath.Join(t.TempDir(), "naru")
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w -X main.version="+version, "-o", program, "naru/cmd/naru")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build another version: %v\n%s", err, out)
	}
	return program
}
