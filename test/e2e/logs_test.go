package e2e

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"naru/internal/testkit"
)

// TestLogsKeepEveryByteAndItsTime: what comes back is what was written, and every line has one time, however many writes
// it came in.
func TestLogsKeepEveryByteAndItsTime(t *testing.T) {
	d := start(t)
	// It prints one thing after another, each when the one before is in the log.
	const script = `await() { while ! test -e $1; do sleep 0.02; done; }
		printf '\000\377\r\n'; await /1; printf be; await /2; echo gin; await /3; echo last`
	const all = "\x00\xff\r\nbegin\nlast\n"
	d.OK("container", "run", "-d", "--name", "talks", busybox, "sh", "-c", script)
	for n, said := range []string{all[:4], all[:6], all[:10]} {
		testkit.Eventually(t, 20*time.Second, "it goes on", func() error {
			if got := d.OK("container", "logs", "talks"); got != said {
				return fmt.Errorf("it says %q, not yet %q", got, said)
			}
			return nil
		})
		d.OK("container", "exec", "talks", "touch", fmt.Sprint("/", n+1))
	}
	if got := d.OK("container", "logs", "-f", "talks"); got != all {
		t.Fatalf("it says %q", got)
	}
	stamped := d.OK("container", "logs", "-t", "talks")
	times := regexp.MustCompile(`(?m)^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z) (.*)$`).FindAllStringSubmatch(stamped, -1)
	if len(times) != 3 || times[1][2] != "begin" {
		t.Fatalf("with times: %q", stamped)
	}
	for line, want := range map[string]string{
		"":                                all,
		"-n all":                          all,
		"-n 1":                            "last\n",
		"-n 0":                            "",
		"--since " + times[1][1]:          "begin\nlast\n",
		"--until " + times[0][1]:          "\x00\xff\r\n",
		"--since 1h --until 0s":           all,
		"--since 0s":                      "",
		"--follow --since " + times[2][1]: "last\n",
	} {
		if got := d.OK(append([]string{"container", "logs", "talks"}, strings.Fields(line)...)...); got != want {
			t.Errorf("logs %s: %q", line, got)
		}
	}
	refuses(t, d.Naru("container", "logs", "-n", "some", "talks"), "or all")
	refuses(t, d.Naru("container", "logs", "--until", "soon", "talks"), "--until")
}

// TestLogsAreBoundedWithoutAnybodyAsking: a container that never stops talking does not fill the disk.
func TestLogsAreBoundedWithoutAnybodyAsking(t *testing.T) {
	d := start(t)
	id := strings.TrimSpace(d.OK("container", "run", "-d", busybox, "sh", "-c", "seq 1 2000000; echo the end; sleep 1000000"))
	testkit.Eventually(t, 120*time.Second, "it has said all", func() error {
		if got := d.OK("container", "logs", "-n", "1", id); got != "the end\n" {
			return fmt.Errorf("it says %q", got)
		}
		return nil
	})
	size := int64(0)
	err := filepath.WalkDir(filepath.Join(d.Data, "containers", id, "log"), func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := os.Stat(path)
		if err == nil && info.Mode().IsRegular() {
			size += info.Size()
		}
		return err
	})
	if err != nil || size > 31<<20 || size < 15<<20 {
		t.Errorf("its log has %d bytes, %v", size, err)
	}
	if got := d.OK("container", "logs", "-n", "2", id); got != "2000000\nthe end\n" {
		t.Errorf("its last lines are %q", got)
	}
	d.OK("container", "rm", "-f", id)
}

// TestSignalsReachTheProcess by name, by number, and through the client in the foreground.
func TestSignalsReachTheProcess(t *testing.T) {
	d := start(t)
	const traps = "trap 'echo HUP' HUP; trap 'echo USR1' USR1; trap 'exit 7' TERM; echo armed; while :; do sleep 0.05; done"
	var out bytes.Buffer
	cmd := d.Command(t.Context(), "container", "run", "--name", "hears", busybox, "sh", "-c", traps)
	cmd.Stdout = &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	says := func(word string) {
		testkit.Eventually(t, 20*time.Second, "it says "+word, func() error {
			if r := d.Naru("container", "logs", "hears"); !strings.Contains(r.Stdout, word) {
				return fmt.Errorf("it says %q", r.Stdout)
			}
			return nil
		})
	}
	says("armed")
	d.OK("container", "kill", "-s", "HUP", "hears")
	says("HUP")
	d.OK("container", "kill", "--signal", "10", "hears")
	says("USR1")
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 7 {
		t.Errorf("in the foreground it ends with %v, %v", cmd.ProcessState, err)
	}
	refuses(t, d.Naru("container", "kill", "hears"), "exited")
	refuses(t, d.Naru("container", "kill", "-s", "NOPE", "hears"), "NOPE")
	if reason := strings.TrimSpace(d.OK("container", "inspect", "-f", "{{.ExitCode}} {{.Reason}}", "hears")); reason != "7 exited" {
		t.Errorf("inspect says %q", reason)
	}
}
