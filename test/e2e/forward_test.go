package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"naru/internal/testkit"
)

// collector takes OpenTelemetry's logs, and counts how often each line came.
type collector struct {
	mu    sync.Mutex
	lines map[string]int
	away  bool
}

func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var body struct {
		ResourceLogs []struct {
			ScopeLogs []struct {
				LogRecords []struct{ Body struct{ StringValue string } }
			}
		}
	}
	err := json.NewDecoder(r.Body).Decode(&body)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.away || err != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	for _, resource := range body.ResourceLogs {
		for _, scope := range resource.ScopeLogs {
			for _, record := range scope.LogRecords {
				c.lines[record.Body.StringValue]++
			}
		}
	}
}

func (c *collector) setAway(away bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.away = away
}

// missing says which of the lines "TAG 1" to "TAG n" have not come.
func (c *collector) missing(tag string, n int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range n {
		if line := fmt.Sprintf("%s %d", tag, i+1); c.lines[line] == 0 {
			return fmt.Errorf("%q of %d has not come", line, n)
		}
	}
	return nil
}

// TestLogsAreForwardedThroughTheDaemonsDeath kills the daemon with -9 while containers print, and takes the collector
// away meanwhile. Every line arrives; a container that is removed on its exit stays until its last one has.
func TestLogsAreForwardedThroughTheDaemonsDeath(t *testing.T) {
	c := &collector{lines: map[string]int{}}
	server := httptest.NewServer(c)
	defer server.Close()
	d := testkit.NewDaemon(t)
	flag := []string{"--log-forward", "otlp+" + server.URL}
	d.Start(flag...)
	d.ImportBusybox(busybox)
	d.OK("container", "run", "--rm", busybox, "true")
	before := d.Kernel()
	say := func(n int, pause string) string {
		return fmt.Sprintf("i=0; while [ $i -lt %d ]; do i=$((i+1)); echo $TAG $i; %s; done", n, pause)
	}
	d.OK("container", "run", "-d", "--name", "slow", "-e", "TAG=slow", busybox, "sh", "-c", say(200, "sleep 0.02"))
	for round := range 4 {
		c.setAway(round%2 == 0)
		tag := fmt.Sprint("quick", round)
		d.OK("container", "run", "-d", "--rm", "-e", "TAG="+tag, busybox, "sh", "-c", say(300, ":"))
		d.Kill9()
		d.Start(flag...)
		c.setAway(false)
	}
	for round := range 4 {
		testkit.Eventually(t, 60*time.Second, "all lines arrive", func() error { return c.missing(fmt.Sprint("quick", round), 300) })
	}
	testkit.Eventually(t, 60*time.Second, "all lines arrive", func() error { return c.missing("slow", 200) })
	testkit.Eventually(t, 30*time.Second, "what is removed on exit is gone", func() error {
		if out := d.OK("container", "ls", "-a", "--format", "{{.Name}}"); strings.TrimSpace(out) != "slow" {
			return fmt.Errorf("there are %q", out)
		}
		return nil
	})
	d.OK("container", "rm", "-f", "slow")
	d.OK("container", "run", "-d", "--name", "leaves", busybox, "sh", "-c", "trap 'echo bye 1; exit' TERM; echo armed 1; while :; do sleep 0.05; done")
	testkit.Eventually(t, 60*time.Second, "it is ready", func() error { return c.missing("armed", 1) })
	d.OK("container", "stop", "leaves")
	d.OK("container", "rm", "leaves")
	if err := c.missing("bye", 1); err != nil {
		t.Errorf("what is removed has no last words: %v", err)
	}
	d.Settles(before)
}
