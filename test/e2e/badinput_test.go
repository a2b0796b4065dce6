package e2e

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"naru/internal/testkit"
)

// TestBadInputSaysWhatIsWrongAndChangesNothing deploys a good app, then tries to bring it to what each folder says.
func TestBadInputSaysWhatIsWrongAndChangesNothing(t *testing.T) {
	d := start(t)
	d.OK("up", ready("one").write(t))
	good := ready("two")["compose.yaml"]
	holder := holdPort(t)
	tests := []struct {
		name string
		app  files
		says []string
	}{
		{"broken YAML is told with its place",
			files{"compose.yaml": "name: hello\nservices:\n  web: [1, 2\n"}, []string{"compose.yaml:4:"}},
		{"an unknown key is told with its place and the key that was meant",
			files{"compose.yaml": strings.Replace(good, "command:", "comand:", 1)}, []string{"compose.yaml:9:5", "comand", `"command"`}},
		{"an unknown key of x-naru too",
			files{"compose.yaml": good + "    x-naru: {rollot: {}}\n"}, []string{"compose.yaml:10:", "rollot", `"rollout"`}},
		{"a key of Compose that naru does not honour is named",
			files{"compose.yaml": good + "    privileged: true\n"}, []string{"compose.yaml:10:5", "privileged"}},
		{"a missing Dockerfile is told",
			files{"compose.yaml": "name: hello\nservices:\n  web:\n    build: {context: ., dockerfile: Dockerfile.prod}\n"}, []string{"Dockerfile.prod"}},
		{"a folder with nothing to run is told what could be in it",
			files{"notes.txt": "nothing\n"}, []string{"compose.yaml", "Dockerfile"}},
		{"a failed build step shows its output and exit code",
			site("two").with(files{"Dockerfile": "FROM " + busybox + "\nRUN echo this went wrong; exit 42\n"}), []string{"this went wrong", "42"}},
		{"a container that exits at once shows its last lines",
			files{"compose.yaml": strings.Replace(good, "mkdir -p", "echo no such database; exit 3; mkdir -p", 1)}, []string{"no such database", "3"}},
		{"a program that is not in the image is told",
			files{"compose.yaml": strings.Replace(good, `["sh", "-c",`, `["/bin/no-such-program", "-c",`, 1)}, []string{"/bin/no-such-program"}},
		{"a taken port is told with its holder",
			files{"compose.yaml": good + fmt.Sprintf("    ports: [\"%d:8080\"]\n", holder.port)}, []string{fmt.Sprint(holder.port), fmt.Sprintf("pid %d", holder.pid)}},
		{"an app name that is not a DNS label is told",
			files{"compose.yaml": strings.Replace(good, "name: hello", "name: Hello_World", 1)}, []string{"Hello_World", "DNS label"}},
		{"an image that nobody has is told",
			files{"compose.yaml": strings.Replace(good, busybox, "localhost:1/no/such:image", 1)}, []string{"localhost:1/no/such:image"}},
	}
	before, releases := d.Kernel(), len(d.Releases("hello"))
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := d.Naru("up", test.app.write(t))
			refuses(t, testkit.Result{Args: r.Args, Code: r.Code, Stderr: r.Stdout + r.Stderr, Took: r.Took}, test.says...)
			answers(t, d, "one")
		})
	}
	d.Settles(before)
	if now := failedOnly(d, releases); now != nil {
		t.Error(now)
	}
	d.Ready("hello", "web", 1)
}

// failedOnly: releases minted beyond those at the start are of tries that got as far as a rollout, and v1 still serves.
func failedOnly(d *testkit.Daemon, before int) error {
	for _, app := range d.Apps() {
		if app.Ready != app.Wanted {
			return fmt.Errorf("%s has %d of %d instances ready", app.AppEnv, app.Ready, app.Wanted)
		}
	}
	if n := len(d.Releases("hello")); n < before {
		return fmt.Errorf("there are %d releases, and there were %d", n, before)
	}
	return nil
}

type portHolder struct {
	port uint16
	pid  int
}

// holdPort listens on a port of the host, as another program of this machine would.
func holdPort(t *testing.T) portHolder {
	t.Helper()
	l, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return portHolder{uint16(l.Addr().(*net.TCPAddr).Port), os.Getpid()}
}

func TestNoDaemonSaysHowToStartOne(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "naru.sock")
	cmd := exec.Command(testkit.Binary(t), "apps")
	cmd.Env = append(os.Environ(), "NARU_HOST=unix://"+socket)
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "naru server") || !strings.Contains(string(out), socket) {
		t.Errorf("want a failure that names %s and says `naru server`, got %v:\n%s", socket, err, out)
	}
}

// An ordinary user has a daemon of his own, but not the ports that are root's.
func TestNoRootSaysWhatNeedsIt(t *testing.T) {
	testkit.RequireRoot(t) // to become nobody
	program := readableCopy(t, testkit.Binary(t))
	dir, err := os.MkdirTemp("", "nk")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "server", "--data", dir+"/data", "--run", dir+"/run", "--http", "127.0.0.1:80")
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) } // it has processes of its own to end
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "ordinary users may not have ports below 1024") {
		t.Errorf("want a failure that says what an ordinary user may not have, got %v:\n%s", err, out)
	}
}

// readableCopy puts the program where nobody can execute it: the tree may be in root's home.
func readableCopy(t *testing.T, program string) string {
	t.Helper()
	body, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "nk")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "naru")
	if err := os.WriteFile(path, body, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestAWrongCommandLineChangesNothingAndExitsWith2(t *testing.T) {
	d := start(t)
	d.OK("up", ready("one").write(t))
	before := d.Kernel()
	for _, args := range [][]string{
		{"uup"},
		{"up", "--nope"},
		{"scale", "-a", "hello", "web=many"},
		{"scale", "-a", "hello", "web"},
		{"rollback", "-a", "hello", "latest"},
		{"config", "set", "-a", "hello", "1A=x"},
		{"ps", "Not_A_Label"},
	} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			if r := d.Naru(args...); r.Code != 2 || r.Stderr == "" {
				t.Errorf("want exit status 2 and a message: %v", r)
			}
		})
	}
	for _, args := range [][]string{
		{"scale", "-a", "hello", "nobody=2"},
		{"rollback", "-a", "hello", "v99"},
		{"ps", "no-such-app"},
		{"logs", "-a", "no-such-app"},
	} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			if r := d.Naru(args...); r.Code == 0 || r.Stderr == "" {
				t.Errorf("want a failure and a message: %v", r)
			}
		})
	}
	if !slices.Equal(d.Kernel(), before) {
		t.Errorf("something changed:\n%s", strings.Join(d.Kernel().Beyond(before), "\n"))
	}
	answers(t, d, "one")
}
