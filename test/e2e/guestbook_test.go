package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"naru/internal/testkit"
)

const treeRoot = "../.."

// TestDemo runs what `make demo` runs, in folders of its own: it starts the daemon, deploys the guestbook and shows a
// request answered; the second time it is a no-op, says so, and takes well under a second. Then the guestbook changes
// under load.
func TestDemo(t *testing.T) {
	testkit.RequireRoot(t)
	testkit.RequireCommand(t, "go")
	d := testkit.NewDaemon(t)
	first := demo(t, d)
	defer stopStarted(t, first)
	for _, want := range []string{"started the naru daemon", "http://guestbook.localhost", "answers:"} {
		if !strings.Contains(first, want) {
			t.Errorf("want %q in what the first run prints:\n%s", want, first)
		}
	}
	t.Run("twice in a row is a no-op", func(t *testing.T) { demoAgain(t, d) })
	t.Run("a change under 200 requests a second loses none", func(t *testing.T) { changeUnderLoad(t, d) })
	d.OK("down", "-a", "guestbook", "--volumes")
}

func demoAgain(t *testing.T, d *testkit.Daemon) {
	wellUnderASecond(t, func() time.Duration {
		start := time.Now()
		again := demo(t, d)
		if !strings.Contains(again, "nothing to do") || strings.Contains(again, "started") {
			t.Errorf("the next run does not say that it is a no-op:\n%s", again)
		}
		return time.Since(start)
	})
}

// changeUnderLoad deploys a copy of the guestbook whose heading is another.
func changeUnderLoad(t *testing.T, d *testkit.Daemon) {
	dir := filepath.Join(t.TempDir(), "guestbook")
	if out, err := exec.Command("cp", "-r", filepath.Join(treeRoot, "examples", "guestbook"), dir).CombinedOutput(); err != nil {
		t.Fatalf("copy the guestbook: %v\n%s", err, out)
	}
	load := testkit.StartLoad(t, d.HTTP, "guestbook.localhost", "/", 200)
	load.Waits(100)
	changePage(t, dir)
	d.OK("up", dir)
	load.Waits(100)
	headings := map[string]int{}
	for page, times := range load.Stop() {
		headings[heading(page)] += times
	}
	if len(headings) != 2 || headings["Guestbook"] == 0 || headings["Changed Guestbook"] == 0 {
		t.Errorf("seen the headings %v, want the old one and the new one", headings)
	}
}

// heading is what a page's h1 says.
func heading(page string) string {
	_, rest, _ := strings.Cut(page, "<h1>")
	text, _, _ := strings.Cut(rest, "</h1>")
	return text
}

func demo(t *testing.T, d *testkit.Daemon) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "examples/demo.sh", testkit.Binary(t))
	cmd.Dir = treeRoot
	cmd.Env = append(d.Environment(), "DATA="+d.Data, "RUN="+d.Run, "HTTP="+d.HTTP, "SERVER_FLAGS=--subnet "+d.Subnet.String())
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("the demo: %v\n%s", err, out)
	}
	return string(out)
}

// stopStarted stops the daemon that the demo says it started.
func stopStarted(t *testing.T, output string) {
	t.Helper()
	m := regexp.MustCompile(`daemon \(pid (\d+),`).FindStringSubmatch(output)
	if m == nil {
		t.Fatalf("the demo names no pid:\n%s", output)
	}
	pid, err := strconv.Atoi(m[1])
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		t.Fatalf("stop the daemon: %v", err)
	}
	testkit.Eventually(t, 30*time.Second, "the daemon ends", func() error {
		if err := syscall.Kill(pid, 0); err == nil && !zombie(pid) {
			return os.ErrExist
		}
		return nil
	})
}

// zombie: the daemon's parent, the demo, has ended; where nobody reaps orphans it stays as one.
func zombie(pid int) bool {
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	return err == nil && strings.Contains(string(stat), ") Z ")
}

// changePage puts another word into the heading of the guestbook's page.
func changePage(t *testing.T, dir string) {
	t.Helper()
	changed := false
	err := filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		body, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if with := strings.Replace(string(body), "<h1>", "<h1>Changed ", 1); with != string(body) {
			changed = true
			return os.WriteFile(path, []byte(with), 0o644)
		}
		return nil
	})
	if err != nil || !changed {
		t.Fatalf("change the guestbook's heading: %v, changed %t", err, changed)
	}
}
