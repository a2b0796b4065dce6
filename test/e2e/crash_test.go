package e2e

import (
	"bufio"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"naru/internal/testkit"
	"naru/naru"
)

func TestKill9WhileIdle(t *testing.T) {
	d := start(t)
	d.OK("up", ready("one").write(t))
	before := d.Ready("hello", "web", 1)[0]

	d.Kill9()
	dialsInstance(t, before)
	d.Start()
	dialsInstance(t, before)
	if after := d.Ready("hello", "web", 1)[0]; after.PID != before.PID || after.ID != before.ID {
		t.Errorf("the instance was not adopted: pid %d, then %d", before.PID, after.PID)
	}
	testkit.Eventually(t, 10*time.Second, "the router answers again", func() error {
		_, err := d.Get("hello.localhost", "/")
		return err
	})
	d.OK("up", ready("two").write(t))
	answers(t, d, "two")
}

func TestARestartUnderLoadLosesNothing(t *testing.T) {
	d := start(t)
	d.OK("up", ready("one").write(t))
	load := testkit.StartLoad(t, d.HTTP, "hello.localhost", "/", 50)
	load.Waits(50)
	d.Stop()
	d.Start()
	load.Waits(50)
	load.OnlySees("one")
}

func TestKill9InABuild(t *testing.T) {
	d := start(t)
	d.OK("up", ready("one").write(t))
	before := d.Kernel()
	slow := site("two").with(files{"Dockerfile": "FROM " + busybox + "\nRUN echo the step runs; sleep 1000000\nCMD [\"true\"]\n"})
	up := d.Command(t.Context(), "up", slow.write(t))
	stdout, err := up.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	up.Stderr = up.Stdout
	if err := up.Start(); err != nil {
		t.Fatal(err)
	}
	waitForLine(t, stdout, "| the step runs")

	d.Kill9()
	if err := up.Wait(); err == nil {
		t.Error("up succeeded although its daemon died in the build")
	}
	d.Start()
	d.Ready("hello", "web", 1)
	answers(t, d, "one")
	d.Settles(before)
	d.OK("up", site("two").write(t))
	answers(t, d, "two")
}

// waitForLine reads until a line holds the words; what is read later is dropped.
func waitForLine(t *testing.T, out interface{ Read([]byte) (int, error) }, words string) {
	t.Helper()
	var seen []string
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		seen = append(seen, lines.Text())
		if strings.Contains(lines.Text(), words) {
			return
		}
	}
	t.Fatalf("no line with %q in:\n%s", words, strings.Join(seen, "\n"))
}

func TestKill9InARollout(t *testing.T) {
	d := start(t)
	d.OK("up", ready("one").write(t))
	old := d.Ready("hello", "web", 1)[0]
	// The new one listens when the test lets it: until then the rollout is under way.
	gate := t.TempDir()
	slow := strings.Replace(ready("two")["compose.yaml"], "exec httpd", "until [ -e /gate/open ]; do sleep 0.1; done; exec httpd", 1)
	d.OK("up", "--no-wait", files{"compose.yaml": slow + "    volumes: [\"" + gate + ":/gate:ro\"]\n"}.write(t))
	testkit.Eventually(t, time.Minute, "the new instance starts", func() error { return startedBeside(d, old.ID) })

	d.Kill9()
	dialsInstance(t, old)
	d.Start()
	answers(t, d, "one")
	if err := os.WriteFile(gate+"/open", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	d.OK("rollout", "status", "--follow", "-a", "hello")
	answers(t, d, "two")
	d.Ready("hello", "web", 1)
}

// startedBeside returns nil when an instance other than old has a process.
func startedBeside(d *testkit.Daemon, old naru.InstanceID) error {
	instances := d.Instances("hello", "web")
	for _, i := range instances {
		if i.ID != old && i.PID != 0 {
			return nil
		}
	}
	return fmt.Errorf("there are %+v", instances)
}

func TestAKilledInstanceIsReplaced(t *testing.T) {
	d := start(t)
	d.OK("up", ready("one").write(t))
	before := d.Ready("hello", "web", 1)[0]
	kill(t, before.PID)
	testkit.Eventually(t, time.Minute, "another process serves", func() error {
		for _, i := range d.Instances("hello", "web") {
			if i.State == naru.InstanceReady && i.PID != before.PID {
				return nil
			}
		}
		return fmt.Errorf("there are %+v", d.Instances("hello", "web"))
	})
	answers(t, d, "one")
}

func TestAnInstanceThatKeepsDyingIsHeldBack(t *testing.T) {
	d := start(t)
	d.OK("up", ready("one").write(t))
	last := 0
	for range 4 {
		testkit.Eventually(t, time.Minute, "the next process runs", func() error {
			for _, i := range d.Instances("hello", "web") {
				if i.PID != 0 && i.PID != last {
					last = i.PID
					return nil
				}
			}
			return fmt.Errorf("there are %+v", d.Instances("hello", "web"))
		})
		kill(t, last)
	}
	testkit.Eventually(t, time.Minute, "the instance waits for its next start", func() error {
		for _, i := range d.Instances("hello", "web") {
			if i.State == naru.InstanceBackoff && i.Restarts > 0 {
				return nil
			}
		}
		return fmt.Errorf("there are %+v", d.Instances("hello", "web"))
	})
}

func kill(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatalf("kill process %d: %v", pid, err)
	}
}

// dialsInstance fails the test unless the instance answers on its container's address.
func dialsInstance(t *testing.T, i naru.Instance) {
	t.Helper()
	address := netip.AddrPortFrom(i.Addr, 8080)
	if err := testkit.Dials(address.String()); err != nil {
		t.Errorf("the instance does not answer on its own address (pid %s): %v", strconv.Itoa(i.PID), err)
	}
}

// TestATerminalOutlivesKill9 kills the daemon while a program on a terminal talks: it must not stand still for it, hang up
// or lose a byte.
func TestATerminalOutlivesKill9(t *testing.T) {
	const lines = 30000
	d := start(t)
	d.OK("container", "run", "-dit", "--name", "talks", "-v", "said:/said", busybox, "sh", "-c",
		fmt.Sprintf(`i=0; while [ $i -lt %d ]; do i=$((i+1)); echo line $i; done; echo all >/said/all; until [ -e /said/go ]; do sleep 0.05; done; exit 5`, lines))
	before := d.OK("container", "inspect", "-f", "{{.PID}}", "talks")
	for _, kills := range []int{1, 2, 3} {
		testkit.Eventually(t, 20*time.Second, "it talks", func() error {
			if out := d.OK("container", "logs", "-n", "1", "talks"); out == "" {
				return fmt.Errorf("after %d kills it says nothing", kills-1)
			}
			return nil
		})
		d.Kill9()
		if kills < 3 {
			d.Start()
		}
	}
	testkit.Eventually(t, 20*time.Second, "it has said all, while there is no daemon", func() error {
		_, err := os.Stat(filepath.Join(d.Data, "volumes", "said", "all"))
		return err
	})
	d.Start()
	if after := d.OK("container", "inspect", "-f", "{{.PID}}", "talks"); after != before {
		t.Fatalf("its process was %s and is %s", before, after)
	}
	d.OK("container", "exec", "talks", "touch", "/said/go")
	if out := d.OK("container", "wait", "talks"); out != "5\n" {
		t.Errorf("wait prints %q", out)
	}
	got := strings.Split(d.OK("container", "logs", "talks"), "\r\n")
	for i := range lines {
		if i >= len(got) || got[i] != fmt.Sprint("line ", i+1) {
			t.Fatalf("of %d lines it is line %d that is not there: %q", len(got), i+1, got[max(0, i-2):min(len(got), i+3)])
		}
	}
}
