package builder

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"naru/naru"
)

// crashEnv makes the test binary the process that is killed: it builds in the folder that the variable names.
const crashEnv = "NARU_TEST_CRASH"

func TestMain(m *testing.M) {
	if os.Getenv(crashEnv) == "" {
		os.Exit(m.Run())
	}
	os.Args = []string{os.Args[0], "-test.run=^TestCrashChild$"}
	os.Exit(m.Run())
}

// TestCrashChild builds one service after the other, each with a few layers, and tells which step it is in, until it is
// killed.
func TestCrashChild(t *testing.T) {
	dir := os.Getenv(crashEnv)
	if dir == "" {
		t.Skip("runs in a process of its own, from TestKilled")
	}
	w := openWorld(t, dir)
	for i := range 1000 {
		service := fmt.Sprintf("s%s-%d", os.Getenv(crashEnv+"_ROUND"), i)
		w.write(t, service+"/Dockerfile", "FROM busybox\nCOPY big /big\nRUN seq 20000 >/numbers && echo "+service+" >/name\nRUN rm /big\n")
		w.write(t, service+"/big", strings.Repeat(service, 1<<18))
		w.mustBuild(t, request(naru.ServiceName(service), naru.BuildSpec{Context: service}))
		fmt.Printf("BUILT %s\n", service)
	}
}

// TestKilled kills a process with kill -9 at some moment of its builds and checks that everything opens again, that
// what was built is whole and that nothing of what was under way is left.
func TestKilled(t *testing.T) {
	dir := t.TempDir()
	if os.Getuid() != 0 {
		t.Skip("needs root: it mounts overlays")
	}
	w := openWorld(t, dir)
	w.busybox(t)
	w.close(t)
	for round := range 4 {
		built := crashAfter(t, dir, round, 60*round) // a different moment of the third build each time
		unmountRunner(t, dir)
		w = openWorld(t, dir)
		for _, service := range built {
			img, err := w.images.Get(t.Context(), ImageName(request("", naru.BuildSpec{}).AppEnv, naru.ServiceName(service)))
			if err != nil {
				t.Fatal(err)
			}
			if got := w.read(t, img.Digest, "name"); got != service+"\n" {
				t.Errorf("image of %s holds %q", service, got)
			}
		}
		w.mustBuild(t, request(naru.ServiceName(built[0]), naru.BuildSpec{Context: built[0]}))
		w.checkNoneRuns(t)
		if err := w.images.Collect(t.Context()); err != nil {
			t.Error(err)
		}
		w.close(t)
		checkMounts(t, dir)
	}
}

func (w *world) checkNoneRuns(t *testing.T) {
	t.Helper()
	list := w.builds(t, request("", naru.BuildSpec{}).AppEnv)
	abandoned := 0
	for _, b := range list {
		if b.State == naru.BuildRunning {
			t.Errorf("build %d still runs", b.ID)
		}
		if strings.Contains(b.Error, "daemon stopped") {
			abandoned++
		}
	}
	t.Logf("%d builds, %d of them cut off", len(list), abandoned)
}

// crashAfter runs a child, and kills it when it has written some system calls after its second build. It returns the
// services that the child had built.
func crashAfter(t *testing.T, dir string, round, events int) []string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe")
	cmd.Env = append(os.Environ(), crashEnv+"="+dir, crashEnv+"_ROUND="+strconv.Itoa(round))
	cmd.Stderr = io.Discard
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var built []string
	for s := bufio.NewScanner(out); s.Scan(); {
		if service, ok := strings.CutPrefix(s.Text(), "BUILT "); ok {
			built = append(built, service)
		}
		if len(built) == 2 {
			break
		}
	}
	awaitWrites(t, cmd.Process.Pid, events)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	if len(built) < 2 {
		t.Fatalf("the child built only %v", built)
	}
	return built
}

// awaitWrites waits until the process has made so many more write calls.
func awaitWrites(t *testing.T, pid, n int) {
	t.Helper()
	start := writes(pid)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for writes(pid) < start+n && ctx.Err() == nil {
		unix.Nanosleep(&unix.Timespec{Nsec: 1e5}, nil)
	}
}

func writes(pid int) int {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", pid))
	if err != nil {
		return 1 << 30
	}
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, "syscw: "); ok {
			n, _ := strconv.Atoi(strings.TrimSpace(v))
			return n
		}
	}
	return 0
}

// unmountRunner removes what the test's own chroot runner left: the real one has no mounts on the host.
func unmountRunner(t *testing.T, dir string) {
	t.Helper()
	roots, err := filepath.Glob(filepath.Join(dir, "root*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range roots {
		unix.Unmount(r, unix.MNT_DETACH)
		os.RemoveAll(r)
	}
}
