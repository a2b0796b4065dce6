package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"naru/internal/testkit"
)

func TestContainerRunIsATransparentProcess(t *testing.T) {
	d := start(t)
	before := d.Kernel()
	r := d.NaruIn("", []byte("in"), "container", "run", "--rm", "-i", busybox, "sh", "-c", "cat; echo err >&2; exit 9")
	if r.Code != 9 || r.Stdout != "in" || r.Stderr != "err\n" {
		t.Errorf("want what went in, err and 9: %v", r)
	}
	if r := d.Naru("container", "run", "--rm", busybox, "no-such-program"); r.Code != 127 || !strings.Contains(r.Stderr, "no-such-program") {
		t.Errorf("a program that is not there: want 127 and its name: %v", r)
	}
	if r := d.Naru("container", "run", "--rm", busybox, "/etc/passwd"); r.Code != 126 {
		t.Errorf("a file that is no program: want 126: %v", r)
	}
	if r := d.Naru("container", "run", "--rm", "no-such-image"); r.Code != 125 || !strings.Contains(r.Stderr, "no-such-image") {
		t.Errorf("an image that is not there: want 125 and its name: %v", r)
	}
	if left := d.Containers(); len(left) > 0 {
		t.Errorf("containers run with --rm are left: %+v", left)
	}
	d.Settles(before)
}

func TestContainerVerbs(t *testing.T) {
	d := start(t)
	before := d.Kernel()
	d.OK("container", "run", "-d", "--name", "web", busybox, "sh", "-c", "echo it runs; trap 'exit 0' TERM; while :; do sleep 0.1; done")
	c := d.Containers()
	if len(c) != 1 || c[0].Name != "web" || c[0].State != "running" || c[0].PID == 0 {
		t.Fatalf("container ls: %+v", c)
	}
	testkit.Eventually(t, 10*time.Second, "the log is there", func() error {
		if out := d.OK("container", "logs", "web"); out != "it runs\n" {
			return fmt.Errorf("logs are %q", out)
		}
		return nil
	})
	if out := d.OK("container", "exec", "web", "cat", "/proc/1/cmdline"); !strings.Contains(out, "it runs") {
		t.Errorf("inside, process 1 is %q, want the user's own", out)
	}
	refuses(t, d.Naru("container", "rm", "web"), "web")
	d.OK("container", "stop", "web")
	if c := d.Containers(); len(c) != 1 || c[0].State != "exited" || c[0].ExitCode != 0 {
		t.Errorf("after stop: %+v", c)
	}
	d.OK("container", "rm", "web")
	if c := d.Containers(); len(c) != 0 {
		t.Errorf("after rm: %+v", c)
	}
	d.Settles(before)
}

func TestContainersAreLimited(t *testing.T) {
	d := start(t)
	r := d.Naru("container", "run", "--rm", "-m", "32m", busybox, "sh", "-c", "dd if=/dev/zero of=/dev/null bs=200M count=1")
	if r.Code != 137 {
		t.Errorf("more memory than the limit: want exit status 137: %v", r)
	}
	r = d.Naru("container", "run", "--rm", "--pids-limit", "10", busybox, "sh", "-c", "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 5 & done; true")
	if r.Code == 0 || !strings.Contains(r.Stderr, "fork") {
		t.Errorf("more processes than the limit: want fork to fail: %v", r)
	}
}

func TestContainersAreIsolated(t *testing.T) {
	d := start(t)
	inside := func(command string) string {
		t.Helper()
		return strings.TrimSpace(d.Naru("container", "run", "--rm", busybox, "sh", "-c", command+" 2>&1").Stdout)
	}
	for _, ns := range []string{"pid", "net", "mnt", "user", "uts", "ipc"} {
		host, err := os.Readlink("/proc/self/ns/" + ns)
		if err != nil {
			t.Fatal(err)
		}
		if got := inside("readlink /proc/self/ns/" + ns); got == host || !strings.HasPrefix(got, ns+":") {
			t.Errorf("its %s namespace is %q, the host's is %q", ns, got, host)
		}
	}
	tests := []struct{ what, command, want string }{
		{"it is root inside", "id -u", "0"},
		{"it sees only its own processes", "ls -d /proc/[0-9]* | wc -l | xargs test 4 -ge && echo few", "few"},
		{"it cannot load a module, set the clock or reboot", "grep -q CapEff:.*a80425fb /proc/self/status && echo default", "default"},
		{"no new privileges", "grep NoNewPrivs /proc/self/status | tr -s '\\t' ' '", "NoNewPrivs: 1"},
		{"system calls are filtered", "grep Seccomp: /proc/self/status | tr -s '\\t' ' '", "Seccomp: 2"},
		{"kernel memory is masked", "head -c 1 /proc/kcore 2>/dev/null | wc -c", "0"},
		{"/proc/sys is read-only", "echo 1 >/proc/sys/kernel/panic || echo refused", "refused"},
		{"the files of the image belong to root", "stat -c %u:%g /bin/busybox", "0:0"},
		{"it has an address", "ip -4 addr show eth0 | grep -c inet", "1"},
	}
	for _, test := range tests {
		if got := inside(test.command); !strings.HasSuffix(got, test.want) {
			t.Errorf("%s: %s gives %q, want %q", test.what, test.command, got, test.want)
		}
	}
}

func TestARootInsideIsNobodyOutside(t *testing.T) {
	d := start(t)
	d.OK("container", "run", "-d", "--name", "c", busybox, "sleep", "1000000")
	pid := d.Containers()[0].PID
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if uid, found := strings.CutPrefix(line, "Uid:"); found && strings.HasPrefix(strings.TrimSpace(uid), "0") {
			t.Errorf("process 1 of the container has the host's %s", strings.TrimSpace(line))
		}
	}
}

func TestAPublishedPortOfAContainer(t *testing.T) {
	d := start(t)
	port := testkit.FreePort(t)
	d.OK("container", "run", "-d", "--name", "web", "-p", fmt.Sprintf("%d:80", port), busybox, "sh", "-c", "echo hi >/tmp/index.html; exec httpd -f -p 80 -h /tmp")
	var body []byte
	testkit.Eventually(t, 10*time.Second, "the published port answers", func() error {
		response, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/", port))
		if err != nil {
			return err
		}
		defer response.Body.Close()
		body, err = io.ReadAll(response.Body)
		return err
	})
	if string(body) != "hi\n" {
		t.Errorf("the published port answers %q", body)
	}
	refuses(t, d.Naru("container", "run", "-d", "-p", fmt.Sprintf("%d:80", port), busybox, "true"), fmt.Sprint(port), "web")
}

func TestVolumesKeepAndFoldersAreShared(t *testing.T) {
	d := start(t)
	d.OK("container", "run", "--rm", "-v", "kept:/data", busybox, "sh", "-c", "echo kept >/data/file")
	if got := d.OK("container", "run", "--rm", "-v", "kept:/data:ro", busybox, "cat", "/data/file"); got != "kept\n" {
		t.Errorf("the volume holds %q", got)
	}
	if r := d.Naru("container", "run", "--rm", "-v", "kept:/data:ro", busybox, "touch", "/data/file"); r.Code == 0 {
		t.Error("a read-only volume was written to")
	}
	folder := t.TempDir()
	d.OK("container", "run", "--rm", "-v", folder+":/data", busybox, "sh", "-c", "echo out >/data/file")
	info, err := os.Stat(filepath.Join(folder, "file"))
	if err != nil {
		t.Fatalf("what the container wrote into a folder of the host: %v", err)
	}
	if info.Mode().Perm()&0o400 == 0 {
		t.Errorf("the file has mode %v", info.Mode())
	}
}

func TestImageVerbs(t *testing.T) {
	d := start(t)
	var images []struct {
		Digest string   `json:"digest"`
		Names  []string `json:"names"`
	}
	d.JSON(&images, "image", "ls")
	if len(images) != 1 || len(images[0].Names) != 1 || !strings.Contains(images[0].Names[0], busybox) {
		t.Fatalf("image ls: %+v", images)
	}
	if out := d.OK("image", "inspect", busybox); !json.Valid([]byte(out)) || !strings.Contains(out, images[0].Digest) {
		t.Errorf("image inspect prints\n%s", out)
	}
	garbage := filepath.Join(t.TempDir(), "garbage.tar")
	if err := os.WriteFile(garbage, []byte("this is no archive"), 0o644); err != nil {
		t.Fatal(err)
	}
	refuses(t, d.Naru("image", "import", garbage, "garbage"), "garbage.tar")
	d.OK("image", "rm", busybox)
	refuses(t, d.Naru("image", "rm", busybox), busybox)
	d.JSON(&images, "image", "ls")
	if len(images) != 0 {
		t.Errorf("after rm: %+v", images)
	}
}
