package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/spf13/cobra"

	"naru/api"
	"naru/delivery"
	"naru/naru"
)

// result is what one run of the program did.
type result struct {
	code     int
	out, err string
}

// naruCLI runs a command line; host may be empty.
func naruCLI(t *testing.T, host, stdin string, args ...string) result {
	t.Helper()
	var out, errOut bytes.Buffer
	env := func(name string) string { return map[string]string{"NARU_HOST": host}[name] }
	c := &cli{in: strings.NewReader(stdin), out: &out, err: &errOut, env: env}
	return result{c.main(t.Context(), args), out.String(), errOut.String()}
}

func TestEveryVerbExplainsItself(t *testing.T) {
	root := (&cli{env: func(string) string { return "" }}).root(nil)
	eachCommand(root, func(cmd *cobra.Command) {
		if cmd.Hidden { // it only says that it is not there
			return
		}
		switch {
		case cmd.Short == "" || !strings.Contains(cmd.Example, "naru"):
			t.Errorf("%s: no short help, or no example", cmd.CommandPath())
		case cmd.Parent() == root && cmd.GroupID == "":
			t.Errorf("%s is in no group", cmd.CommandPath())
		case cmd.RunE == nil || cmd.Args == nil:
			t.Errorf("%s does nothing, or takes any arguments", cmd.CommandPath())
		}
		if name := cmd.Name(); name == "ls" || name == "apps" || name == "ps" || name == "releases" || name == "list" {
			if cmd.Flags().Lookup("json") == nil {
				t.Errorf("%s lists, and has no --json", cmd.CommandPath())
			}
		}
		if got := naruCLI(t, "", "", append(strings.Fields(cmd.CommandPath())[1:], "--help")...); got.code != 0 || !strings.Contains(got.out, "Usage:") {
			t.Errorf("%s --help: %+v", cmd.CommandPath(), got)
		}
	})
}

func TestWrongCommandLines(t *testing.T) {
	for line, says := range map[string]string{
		"frob":                         `unknown command "frob"`,
		"contaner ls":                  "container",
		"container frob":               `unknown command "frob"`,
		"image lss":                    "did you mean ls?",
		"up --frob":                    "unknown flag: --frob",
		"up a b":                       `"b" is too much`,
		"exec web":                     "something is missing: naru exec SERVICE -- COMMAND...",
		"scale":                        "something is missing",
		"scale web":                    "write SERVICE=N",
		"rollback three -a x":          "such as v3",
		"ps No_Label":                  "not a DNS label",
		"ps -a x --host ftp://x":       "use unix:///path",
		"logs -a x --since yesterday":  "2006-01-02",
		"exec -a x -t web sh":          "standard input is none",
		"server --http 80":             "such as :80",
		"server --subnet 10.0.0.0/30":  "1,024 addresses",
		"server --log-format xml":      "text or json",
		"server --log-forward pigeon":  "syslog+tcp://HOST",
		"server --log-level loud":      "debug, info",
		"image import /nowhere/at-all": "no such file",
	} {
		got := naruCLI(t, "", "", strings.Fields(line)...)
		if got.code != exitUsage || !strings.Contains(got.err, says) || strings.Count(got.err, "naru: ") != 1 || got.out != "" {
			t.Errorf("naru %s: %+v\nwant %q", line, got, says)
		}
	}
	if got := naruCLI(t, "", "", "container", "run", "--frob"); got.code != exitContainer {
		t.Errorf("container run fails as docker does: %+v", got)
	}
}

func TestNoDaemon(t *testing.T) {
	host := "unix://" + t.TempDir() + "/naru.sock"
	for _, line := range []string{"apps", "ps x", "logs -a x", "exec -a x web ls", "scale -a x web=1", "down -a x", "image ls", "container ls", "config list -a x"} {
		got := naruCLI(t, host, "", strings.Fields(line)...)
		if got.code != exitUnreachable || !strings.Contains(got.err, "start it with `naru server` as root") || strings.Count(got.err, "naru: ") != 1 {
			t.Errorf("naru %s: %+v", line, got)
		}
	}
	if got := naruCLI(t, host, "", "container", "run", "x"); got.code != exitContainer {
		t.Errorf("container run: %+v", got)
	}
}

// daemonOf serves one answer to every request, and returns its host and the requests' bodies.
func daemonOf(t *testing.T, answer http.HandlerFunc) (host string) {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "naru.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: answer}
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		_ = s.Close()
		<-done
	})
	return "unix://" + socket
}

func jsonAnswer(status int, lines ...any) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(status)
		for _, v := range lines {
			_ = json.NewEncoder(w).Encode(v)
		}
	}
}

func TestLists(t *testing.T) {
	host := daemonOf(t, jsonAnswer(200, []api.App{{AppEnv: guestbook, Release: 2}}))
	if got := naruCLI(t, host, "", "apps"); got.code != 0 || !strings.Contains(got.out, "guestbook   v2") {
		t.Errorf("%+v", got)
	}
	got := naruCLI(t, host, "", "apps", "--json")
	var back []api.App
	if err := json.Unmarshal([]byte(got.out), &back); err != nil || back[0].Release != 2 {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestAChangeThatFailsSaysSoOnce(t *testing.T) {
	host := daemonOf(t, jsonAnswer(200,
		api.Event{Event: delivery.Event{Release: &delivery.ReleaseMinted{Number: 4, Reason: "scale", Rolling: true}}},
		api.Event{Error: &api.Error{Code: naru.Failed, Message: "release v4 failed"}}))
	got := naruCLI(t, host, "", "scale", "-a", "guestbook", "web=2")
	if got.code != exitFailed || got.err != "naru: release v4 failed\n" || !strings.Contains(got.out, "release  v4 (scale)") {
		t.Errorf("%+v", got)
	}
}

func TestUpReadsTheFolderAndSendsItsSpec(t *testing.T) {
	dir := t.TempDir()
	compose := "name: shop\nservices:\n  web:\n    image: busybox\n"
	if err := os.WriteFile(filepath.Join(dir, "compose.yaml"), []byte(compose), 0o644); err != nil {
		t.Fatal(err)
	}
	asked := make(chan string, 1)
	host := daemonOf(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		asked <- r.URL.String() + " " + string(b)
		jsonAnswer(200, api.Event{Event: delivery.Event{Done: &delivery.Result{Release: 1, Unchanged: true}}})(w, r)
	})
	got := naruCLI(t, host, "", "up", dir, "-e", "staging")
	if got.code != 0 || got.out != "shop/staging: nothing to do, v1 is up to date\n" {
		t.Errorf("%+v", got)
	}
	if q := <-asked; !strings.HasPrefix(q, "/v1/apps/shop/up?environment=staging") || !strings.Contains(q, `"image":"busybox"`) {
		t.Error(q)
	}
}

func TestInterruptedUpTellsHowToFollow(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var errOut bytes.Buffer
	c := &cli{out: io.Discard, err: &errOut, env: func(string) string { return "" }}
	cancel()
	if err := c.interrupted(ctx, staging, 7); err != exitStatus(exitInterrupted) || !strings.Contains(errOut.String(), "naru rollout status --follow -a guestbook -e staging") {
		t.Errorf("%v, %s", err, errOut.String())
	}
}

// framesOf upgrades and ends the session with the frames.
func framesOf(frames ...api.Frame) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer func() { _ = conn.Close() }()
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: naru-frames\r\n\r\n")
		for _, f := range frames {
			_ = api.WriteFrame(conn, f)
		}
	}
}

func TestAProcessGivesItsExitCodeAndStreams(t *testing.T) {
	out := api.Frame{Kind: api.FrameStdout, Payload: []byte("hi\n")}
	missing := api.FailureFrame(&api.Error{Code: naru.Failed, Message: `exec "foo": no such file`, ExitCode: 127})
	for _, line := range []string{"container run --rm busybox foo", "exec -a x web -- foo", "run -a x web -- foo", "container exec web foo"} {
		args := strings.Fields(line)
		if got := naruCLI(t, daemonOf(t, framesOf(out, api.ExitFrame(7))), "", args...); got != (result{7, "hi\n", ""}) {
			t.Errorf("naru %s: %+v", line, got)
		}
		if got := naruCLI(t, daemonOf(t, framesOf(missing)), "", args...); got.code != 127 || got.err != "naru: exec \"foo\": no such file\n" {
			t.Errorf("naru %s: %+v", line, got)
		}
	}
	lost := naruCLI(t, daemonOf(t, framesOf(out)), "", "exec", "-a", "x", "web", "--", "foo")
	if lost.code != exitFailed || !strings.Contains(lost.err, "went away") {
		t.Errorf("%+v", lost)
	}
}

// TestMain makes the test's program naru itself for tests that need it as a process.
func TestMain(m *testing.M) {
	if os.Getenv("BE_NARU") != "" {
		main()
	}
	os.Exit(m.Run())
}

func TestASignalEndsAnExecAndGoesOnToAContainer(t *testing.T) {
	asked, passed := make(chan struct{}), make(chan string)
	host := daemonOf(t, func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = conn.Close() }()
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: naru-frames\r\n\r\n")
		asked <- struct{}{}
		f, err := api.ReadFrame(conn)
		if err != nil {
			passed <- ""
			return
		}
		_ = api.WriteFrame(conn, api.ExitFrame(7))
		passed <- string(f.Payload)
	})
	for line, want := range map[string]struct{ passed, state string }{
		"container exec web foo":         {"", "signal: terminated"},
		"container run --rm busybox foo": {"SIGTERM", "exit status 7"},
	} {
		cmd := exec.CommandContext(t.Context(), os.Args[0], strings.Fields(line)...)
		cmd.Env = append(os.Environ(), "BE_NARU=1", "NARU_HOST="+host)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		<-asked
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		got := <-passed
		_ = cmd.Wait() // its state says the same
		if state := cmd.ProcessState.String(); got != want.passed || state != want.state {
			t.Errorf("naru %s: passed on %q, %s", line, got, state)
		}
	}
}

func TestFlagsAfterTheImageAreTheCommands(t *testing.T) {
	asked := make(chan api.ContainerRun, 1)
	host := daemonOf(t, func(w http.ResponseWriter, r *http.Request) {
		var q api.ContainerRun
		_ = json.NewDecoder(r.Body).Decode(&q)
		asked <- q
		jsonAnswer(200, api.Container{ContainerSummary: api.ContainerSummary{ID: "abc"}})(w, r)
	})
	got := naruCLI(t, host, "", "container", "run", "-d", "--rm", "-e", "A=1", "--userns", "host", "--cpus", "1.5", "--entrypoint", "", "busybox", "ls", "-l", "--rm")
	q := <-asked
	if got != (result{0, "abc\n", ""}) || strings.Join(q.Spec.Command, " ") != "ls -l --rm" || !q.Spec.HostUserNS || q.Spec.Limits.NanoCPUs != 15e8 {
		t.Errorf("%+v %+v", got, q.Spec)
	}
}

func TestCompletionAsksTheDaemon(t *testing.T) {
	host := daemonOf(t, jsonAnswer(200, []api.App{{AppEnv: guestbook}, {AppEnv: naru.AppEnv{App: "shop"}}}))
	got := naruCLI(t, host, "", "__complete", "ps", "")
	if !strings.Contains(got.out, "guestbook\nshop\n") {
		t.Errorf("%+v", got)
	}
}
