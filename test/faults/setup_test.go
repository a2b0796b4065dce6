package faults

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"naru/internal/testkit"
)

var (
	seed   = flag.Uint64("seed", 1, "where the random choices begin")
	cycles = flag.Int("cycles", 500, "how many containers come and go in TestChurnLeavesNothing")
	kills  = flag.Int("kills", 25, "how often the daemon is killed in TestKill9AtRandomInstants")
)

// busybox is the local image that the tests' containers are made of: no registry is asked.
const busybox = "busybox:faults"

// start is a daemon with the busybox image. One container has run on it: what a daemon makes for its first container and
// keeps until it ends, such as the default network, is there.
func start(t *testing.T, flags ...string) *testkit.Daemon {
	t.Helper()
	d := testkit.StartDaemon(t, flags...)
	d.ImportBusybox(busybox)
	d.OK("container", "run", "--rm", busybox, "true")
	return d
}

// site is a folder with an app named hello that answers every request with the word.
func site(t *testing.T, word string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "app")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	writeSite(t, dir, word)
	return dir
}

func writeSite(t *testing.T, dir, word string) {
	t.Helper()
	text := `name: hello
services:
  web:
    image: ` + busybox + `
    init: true
    stop_grace_period: 2s
    expose: ["8080"]
    environment: {WORD: ` + word + `}
    command: ["sh", "-c", "mkdir -p /tmp/www && echo $$WORD >/tmp/www/index.html && exec httpd -f -p 8080 -h /tmp/www"]
`
	if err := os.WriteFile(filepath.Join(dir, "compose.yaml"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
