package vm

import (
	"bufio"
	"context"
	_ "embed"
	"encoding/json"
	"flag"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"naru/internal/testkit"
)

var (
	cuts = flag.Int("cuts", 3, "how often TestPowerCut pulls the plug")
	seed = flag.Uint64("seed", 1, "where the random choices begin")
)

//go:embed powercut.sh
var powercutScript []byte

// keptReleases is how many of an app stay, at least.
const keptReleases = 10

// cutTimeout bounds one boot and the work until its plug is pulled.
const cutTimeout = 5 * time.Minute

// template is an app that answers with its word.
const template = `name: hello
services:
  web:
    image: busybox:cut
    init: true
    expose: ["8080"]
    environment: {WORD: WORD-HERE}
    command: ["sh", "-c", "mkdir -p /tmp/www && echo $$WORD >/tmp/www/index.html && exec httpd -f -p 8080 -h /tmp/www"]
`

// ledger is what a machine whose plug is pulled has acknowledged, over all its boots.
type ledger struct {
	acks       int             // at this boot
	containers map[string]bool // by name; false: its removal was begun
	releases   int             // the number of the newest
}

// TestPowerCut pulls the plug of a machine at work, again and again, and boots it from the same disk: the stores open,
// what was acknowledged is there, and the app serves without anybody's help.
func TestPowerCut(t *testing.T) {
	if variable := os.Getenv("NARU_VM"); variable != "1" && variable != "powercut" {
		t.Skip("takes minutes: run make test-vm")
	}
	kernel := requireVM(t)
	disk := filepath.Join(t.TempDir(), "disk")
	root := buildRoot(t, kernel, powercutScript)
	writeFile(t, filepath.Join(root, "busybox.tar"), 0o644, testkit.BusyboxRootfs(t))
	writeFile(t, filepath.Join(root, "app", "template"), 0o644, []byte(template))
	seal(t, root, disk, "has_journal")

	random := rand.New(rand.NewPCG(*seed, 0))
	l := &ledger{containers: map[string]bool{}}
	for range *cuts {
		l.bootAndCut(t, kernel.image, disk, 2+random.IntN(8), time.Duration(random.Int64N(int64(2*time.Second))))
		if t.Failed() {
			return
		}
	}
	l.bootAndCut(t, kernel.image, disk, 0, 0)
}

// bootAndCut boots the machine, checks what it says, and pulls the plug some time after it has acknowledged so many acts.
// With none, it lets the machine turn itself off.
func (l *ledger) bootAndCut(t *testing.T, kernel, disk string, acks int, after time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), cutTimeout)
	defer cancel()
	var parameters []string
	if acks == 0 {
		parameters = append(parameters, "only-look")
	}
	cmd := machine(ctx, kernel, disk, parameters...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	l.acks = 0
	var console strings.Builder
	lines := bufio.NewScanner(io.TeeReader(out, &console))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		l.read(t, strings.TrimRight(lines.Text(), "\r"))
		if acks > 0 && l.acks == acks {
			acks = -1
			defer time.AfterFunc(after, cancel).Stop() // the plug
		}
	}
	_ = cmd.Wait() // killed, or turned off: what it said is checked
	if acks > 0 || acks == 0 && !strings.Contains(console.String(), "@@done") {
		t.Errorf("the machine did not get as far as it should:\n%s", tail([]byte(console.String()), 60))
	} else if t.Failed() {
		t.Logf("the console:\n%s", tail([]byte(console.String()), 60))
	}
}

// read takes in one line of the console.
func (l *ledger) read(t *testing.T, line string) {
	t.Helper()
	line, found := strings.CutPrefix(line, "@@")
	if !found {
		return
	}
	what, rest, _ := strings.Cut(line, " ")
	switch what {
	case "ack":
		l.acks++
		l.acknowledged(rest)
	case "try":
		l.containers[strings.TrimPrefix(rest, "rm ")] = false
	case "works":
		if rest != "yes" {
			t.Errorf("a container of the image that was imported prints %q", rest)
		}
	case "containers":
		l.checkContainers(t, rest)
	case "releases":
		l.checkReleases(t, rest)
	case "app":
		if !strings.HasPrefix(rest, "c") {
			t.Errorf("the app answers %q", rest)
		}
	}
}

func (l *ledger) acknowledged(act string) {
	verb, name, _ := strings.Cut(act, " ")
	switch verb {
	case "run":
		l.containers[name] = true
	case "rm":
		delete(l.containers, name)
	case "up":
		l.releases++
	}
}

func (l *ledger) checkContainers(t *testing.T, text string) {
	t.Helper()
	var list []testkit.Container
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		t.Errorf("container ls: %v in %q", err, text)
		return
	}
	for name, certain := range l.containers {
		there := slices.ContainsFunc(list, func(c testkit.Container) bool { return c.Name == name })
		if certain && !there {
			t.Errorf("container %s was acknowledged and is not there: %s", name, text)
		}
		l.containers[name] = there
	}
}

// checkReleases counts by the number of the newest, for old releases are forgotten.
func (l *ledger) checkReleases(t *testing.T, text string) {
	t.Helper()
	var list []struct{ Number int }
	if err := json.Unmarshal([]byte(text), &list); err != nil || len(list) == 0 {
		t.Errorf("releases: %v in %q", err, text)
		return
	}
	newest := list[0].Number
	if newest < l.releases {
		t.Errorf("%d releases were acknowledged, there are %+v", l.releases, list)
	}
	for i := range min(newest, keptReleases) {
		if i == len(list) || list[i].Number != newest-i {
			t.Errorf("release %d is missing: there are %+v", newest-i, list)
			break
		}
	}
	l.releases = newest
}
