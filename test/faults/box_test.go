package faults

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"naru/internal/testkit"
	"naru/naru"
)

// box is a container as the test knows it.
type box struct {
	name string
	pid  int
	port uint16 // of the host; it answers with the name. Zero: a brief one, which ends by itself
	want life
	code int // with which it ended, or will

	lines int  // that a brief one prints
	alone bool // a brief one that is removed at its end

	rises  bool // a steady one whose policy is to be started again
	deaths int
}

// life is what the daemon has said of a box. Unsure states follow an act that got no answer.
type life string

const (
	runs          life = "runs"
	ended         life = "ended"
	unsureRun     life = "was being started"
	unsureStop    life = "was being stopped"
	unsureRemoval life = "was being removed"
	unsureDeath   life = "was killed and is to rise again"
	gone          life = "gone"
)

// stopCode is the exit status of a steady box that is asked to stop.
const stopCode = 3

// spec is the container of the box. A steady one counts its lines until it is stopped, a brief one prints as fast as it
// can. The trap and the first line stand before the server that shows that the box is ready.
func (b *box) spec() testkit.ContainerSpec {
	script := fmt.Sprintf(`i=0; while [ $i -lt %d ]; do echo "line $((i=i+1))"; done; sleep 0.1; echo "end $i"; exit %d`, b.lines, b.code)
	s := testkit.ContainerSpec{Name: b.name, Image: busybox, StopGrace: 5 * time.Second, AutoRemove: b.alone}
	if b.port != 0 {
		script = fmt.Sprintf(`i=0; trap 'echo "end $i"; exit %d' TERM; echo "line $((i=i+1))"; mkdir /tmp/w; echo %s >/tmp/w/name
httpd -p 80 -h /tmp/w; while :; do sleep 0.05; echo "line $((i=i+1))"; done`, stopCode, b.name)
		if b.rises {
			s.Restart = "unless-stopped"
		}
		s.Ports = []naru.PublishedPort{{HostPort: b.port, Port: 80, Protocol: "tcp"}}
	}
	s.Command = []string{"sh", "-c", script}
	return s
}

// answers asks the box by its published port. No daemon is needed for that.
func (b *box) answers(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+published(b)+"/name", nil)
	if err != nil {
		return err
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && strings.TrimSpace(string(body)) != b.name {
		err = fmt.Errorf("port %d answers %q", b.port, body)
	}
	return err
}

// lives asks the kernel, not naru.
func (b *box) lives() error {
	if _, err := os.Stat(fmt.Sprintf("/proc/%d", b.pid)); err != nil {
		return fmt.Errorf("its process %d is gone", b.pid)
	}
	return nil
}

// checkLog fails unless the log is every line from the first, each once, and, of a box that has ended, up to its end.
func (b *box) checkLog(log string) error {
	n, end := 0, false
	for line := range strings.Lines(log) {
		what, number, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		if b.deaths > 0 && line == "line 1\n" {
			n = 0 // it was started again
		}
		if got, err := strconv.Atoi(number); err != nil || end {
			return fmt.Errorf("line %q after line %d (end %v)", line, n, end)
		} else if what == "end" && got == n {
			end = true
		} else if what != "line" || got != n+1 {
			return fmt.Errorf("line %q after line %d", line, n)
		} else {
			n = got
		}
	}
	switch {
	case b.want == ended && !end:
		return fmt.Errorf("it has ended, and its last line is number %d", n)
	case b.want == ended && b.port == 0 && n != b.lines:
		return fmt.Errorf("%d lines, of %d", n, b.lines)
	case n == 0 && b.port != 0:
		return fmt.Errorf("no line")
	}
	return nil
}

// published is the address of the host at which the box answers.
func published(b *box) string { return fmt.Sprintf("127.0.0.1:%d", b.port) }
