package e2e

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"naru/internal/testkit"
)

// TestSmoke walks once along the whole path without a build: it is what the virtual machine runs to see that naru works
// on its kernel and its cgroups.
func TestSmoke(t *testing.T) {
	d := start(t)
	before := d.Kernel()
	if got := d.OK("container", "run", "--rm", busybox, "echo", "hello"); got != "hello\n" {
		t.Errorf("container run printed %q, want hello", got)
	}
	d.Settles(before)

	port := testkit.FreePort(t)
	d.OK("up", files{"compose.yaml": ready("one")["compose.yaml"] + fmt.Sprintf(`    ports: ["%d:8080"]
    mem_limit: 64m
    pids_limit: 50
    cpus: 0.5
`, port)}.write(t))
	answers(t, d, "one")
	if err := testkit.Dials(fmt.Sprintf("127.0.0.1:%d", port)); err != nil {
		t.Errorf("the published port: %v", err)
	}
	checkLimits(t, d.Ready("hello", "web", 1)[0].PID)

	d.Kill9()
	d.Start()
	d.OK("up", ready("two").write(t))
	answers(t, d, "two")
	d.OK("down", "-a", "hello")
	d.Settles(before)
}

// checkLimits reads the limits of a process's cgroup, whichever version this machine has.
func checkLimits(t *testing.T, pid int) {
	t.Helper()
	groups, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, limit := range []struct{ controller, v1, v2, want string }{
		{"memory", "memory.limit_in_bytes", "memory.max", "67108864"},
		{"pids", "pids.max", "pids.max", "50"},
		{"cpu", "cpu.cfs_quota_us", "cpu.max", "50000"},
	} {
		file := limitFile(string(groups), limit.controller, limit.v1, limit.v2)
		got, err := os.ReadFile(file)
		if err != nil {
			t.Errorf("read the limit of %s: %v", limit.controller, err)
			continue
		}
		if value := strings.Fields(string(got))[0]; value != limit.want {
			t.Errorf("%s says %s, want %s", file, value, limit.want)
		}
	}
}

// limitFile finds the file in the lines "id:controllers:path" of /proc/PID/cgroup.
func limitFile(groups, controller, v1, v2 string) string {
	unified := ""
	for line := range strings.Lines(groups) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		if parts[1] == controller {
			return "/sys/fs/cgroup/" + controller + parts[2] + "/" + v1
		}
		if parts[1] == "" {
			unified = "/sys/fs/cgroup" + parts[2] + "/" + v2
		}
	}
	return unified
}
