package e2e

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"naru/naru"
)

func TestLogsShowWhatInstancesPrint(t *testing.T) {
	d := start(t)
	d.OK("up", files{"compose.yaml": strings.Replace(ready("one")["compose.yaml"], "mkdir -p", "echo to stdout; echo to stderr >&2; mkdir -p", 1)}.write(t))
	out := d.OK("logs", "-a", "hello")
	for _, want := range []string{"to stdout", "to stderr", "web"} {
		if !strings.Contains(out, want) {
			t.Errorf("want %q in the logs:\n%s", want, out)
		}
	}
}

func TestLogsFollowAndSurviveTheDaemon(t *testing.T) {
	d := start(t)
	d.OK("up", files{"compose.yaml": `name: hello
services:
  web:
    image: ` + busybox + `
    init: true
    command: ["sh", "-c", "n=0; while sleep 0.1; do n=$$((n+1)); echo line $$n; done"]
`}.write(t))
	follow := d.Command(t.Context(), "logs", "-f", "-a", "hello")
	stdout, err := follow.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := follow.Start(); err != nil {
		t.Fatal(err)
	}
	waitForLine(t, stdout, "line 5")
	if err := follow.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = follow.Wait() // killed

	d.Kill9()
	time.Sleep(300 * time.Millisecond) // lines are printed while nobody but the keeper listens
	d.Start()
	checkNoGap(t, d.OK("logs", "--no-prefix", "-a", "hello"))
}

// checkNoGap fails the test unless the lines count from 1 without a gap.
func checkNoGap(t *testing.T, logs string) {
	t.Helper()
	n := 0
	for line := range strings.Lines(logs) {
		n++
		if want := "line " + strconv.Itoa(n); strings.TrimSpace(line) != want {
			t.Fatalf("the %dth line is %q, want %q", n, line, want)
		}
	}
	if n < 7 {
		t.Errorf("there are only %d lines", n)
	}
}

func TestExecRunsInAnInstanceAndGivesItsExitCode(t *testing.T) {
	d := start(t)
	d.OK("up", ready("one").write(t))
	if got := d.OK("exec", "-a", "hello", "web", "--", "cat", "/tmp/www/index.html"); got != "one\n" {
		t.Errorf("exec printed %q", got)
	}
	r := d.NaruIn("", []byte("through stdin"), "exec", "-a", "hello", "web", "--", "sh", "-c", "cat; echo oops >&2; exit 7")
	if r.Code != 7 || r.Stdout != "through stdin" || r.Stderr != "oops\n" {
		t.Errorf("want what went in, oops and 7: %v", r)
	}
	if r := d.Naru("exec", "-a", "hello", "web", "--", "no-such-program"); r.Code == 0 || !strings.Contains(r.Stderr, "no-such-program") {
		t.Errorf("want a message that names the program: %v", r)
	}
}

func TestRunIsAOneOffProcessOfTheCurrentRelease(t *testing.T) {
	d := start(t)
	before := d.Kernel()
	d.OK("up", ready("one").write(t))
	d.OK("config", "set", "-a", "hello", "GREETING=hi")
	r := d.Naru("run", "-a", "hello", "web", "--", "sh", "-c", "echo $WORD $GREETING; exit 5")
	if r.Code != 5 || strings.TrimSpace(r.Stdout) != "one hi" {
		t.Errorf("want the release's variables, and 5: %v", r)
	}
	d.Ready("hello", "web", 1)
	d.OK("down", "-a", "hello")
	d.Settles(before)
}

func TestConfigMintsReleasesAndReachesProcesses(t *testing.T) {
	d := start(t)
	d.OK("up", ready("one").write(t))
	d.OK("config", "set", "-a", "hello", "GREETING=hi", "WORD=overridden")
	if n := len(d.Releases("hello")); n != 2 {
		t.Errorf("there are %d releases after config set, want 2", n)
	}
	if got := d.OK("exec", "-a", "hello", "web", "--", "sh", "-c", "echo $GREETING"); got != "hi\n" {
		t.Errorf("the process sees GREETING=%q, want hi", got)
	}
	d.OK("config", "unset", "-a", "hello", "GREETING")
	if got := d.OK("exec", "-a", "hello", "web", "--", "sh", "-c", "echo $GREETING"); got != "\n" {
		t.Errorf("the process sees GREETING=%q after unset", got)
	}
	if out := d.OK("config", "list", "-a", "hello"); strings.Contains(out, "GREETING") || !strings.Contains(out, "WORD") {
		t.Errorf("config list prints:\n%s", out)
	}
	if n := len(d.Releases("hello")); n != 3 {
		t.Errorf("there are %d releases after config unset, want 3", n)
	}
}

func TestReleasesRollbackAndRolloutStatus(t *testing.T) {
	d := start(t)
	d.OK("up", ready("one").write(t))
	d.OK("up", ready("two").write(t))
	d.OK("up", ready("three").write(t))
	d.OK("rollback", "-a", "hello", "v1")
	answers(t, d, "one")
	releases := d.Releases("hello")
	if len(releases) != 4 || releases[0].Number != 4 || !strings.Contains(releases[0].Reason, "v1") {
		t.Errorf("releases after a rollback to v1: %+v", releases)
	}
	var status naru.Rollout
	d.JSON(&status, "rollout", "status", "-a", "hello")
	if status.State != naru.RolloutDone || status.To != 4 || status.From != 3 {
		t.Errorf("rollout status: %+v", status)
	}
	d.OK("rollback", "-a", "hello")
	answers(t, d, "three")
}

func TestScaleStaysForLaterReleases(t *testing.T) {
	d := start(t)
	d.OK("up", ready("one").write(t))
	d.OK("scale", "-a", "hello", "web=2")
	d.Ready("hello", "web", 2)
	d.OK("up", ready("two").write(t))
	d.Ready("hello", "web", 2)
	d.OK("scale", "-a", "hello", "web=0")
	d.Ready("hello", "web", 0)
	if _, err := d.Get("hello.localhost", "/"); err == nil || !strings.Contains(err.Error(), "503") {
		t.Errorf("an app without instances is answered with %v, want a 503", err)
	}
}

func TestTwoAppsAndTwoEnvironmentsLiveSideBySide(t *testing.T) {
	d := start(t)
	d.OK("up", ready("one").write(t))
	d.OK("up", "-e", "staging", ready("two").write(t))
	d.OK("up", "--app", "other", ready("three").write(t))
	answers(t, d, "one")
	if got, err := d.Get("other.localhost", "/"); err != nil || got != "three" {
		t.Errorf("other.localhost answers %q, %v", got, err)
	}
	urls := map[string][]string{}
	for _, app := range d.Apps() {
		urls[app.AppEnv.String()] = app.URLs
	}
	if len(urls) != 3 || len(urls["hello/staging"]) != 1 {
		t.Errorf("apps and their URLs: %v", urls)
	}
	d.OK("down", "-a", "hello")
	if got, err := d.Get("other.localhost", "/"); err != nil || got != "three" {
		t.Errorf("after another app went down, other.localhost answers %q, %v", got, err)
	}
}

func TestTwoDaemonsLiveSideBySide(t *testing.T) {
	one, two := start(t), start(t)
	one.OK("up", ready("one").write(t))
	two.OK("up", ready("two").write(t))
	answers(t, one, "one")
	answers(t, two, "two")
	one.OK("down", "-a", "hello")
	answers(t, two, "two")
}

func TestVersion(t *testing.T) {
	d := start(t)
	if out := d.OK("version"); len(strings.Fields(out)) < 2 {
		t.Errorf("version prints %q", out)
	}
}

func TestASecretIsNowhereButInTheProcess(t *testing.T) {
	const secret = "s3cr3t-f0r-the-pr0cess-0nly"
	d := start(t)
	d.OK("up", ready("one").write(t))
	r := d.NaruIn("", []byte(secret+"\n"), "config", "set", "-a", "hello", "PASSWORD")
	if r.Code != 0 {
		t.Fatal(r)
	}
	said := r.Stdout + r.Stderr + d.LogTail(1000)
	for _, args := range [][]string{{"apps"}, {"ps", "hello"}, {"releases", "-a", "hello"}, {"rollout", "status", "-a", "hello"}, {"logs", "-a", "hello"}} {
		said += d.OK(args...)
	}
	if strings.Contains(said, secret) {
		t.Error("the secret is in a log, a list or a message")
	}
	if got := d.OK("exec", "-a", "hello", "web", "--", "sh", "-c", "echo $PASSWORD"); strings.TrimSpace(got) != secret {
		t.Errorf("the process sees %q", got)
	}
}
