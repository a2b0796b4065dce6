package forward_test

import (
	"fmt"
	"net"
	"net/http"
	"testing"
	"time"

	"naru/engine/logs"
)

func TestACollectorGetsEveryLineOnce(t *testing.T) {
	c, to := newContainer(t, logs.Limits{}), newCollector(t, nil)
	c.say(2500)
	c.write(logs.Stderr, "torn ")
	end := c.follow(to.receiver(t))
	to.all(t, 2500)
	c.write(logs.Stderr, "\xff line\n")
	c.exit()
	to.until(t, "a line of other bytes", func(lines []string, _ int) bool { return lines[len(lines)-1] == "torn \xff line" })
	_ = end()
	if n := len(to.lines); n != 2501 {
		t.Errorf("%d lines were heard", n)
	}
	for i, l := range to.lines[:2500] {
		if l != fmt.Sprintf("line %d", i) {
			t.Fatalf("line %d is %q", i, l)
		}
	}
}

// TestNothingIsLostWhileTheReceiverOrTheDaemonIsAway ends both at every turn.
func TestNothingIsLostWhileTheReceiverOrTheDaemonIsAway(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	c := newContainer(t, logs.Limits{})
	to := newCollector(t, l)
	receiver := to.receiver(t)
	var all heard
	for round := range 4 {
		end := c.follow(receiver)
		c.say(1500)
		if round%2 == 0 { // the receiver goes while it is being fed
			to.CloseClientConnections()
			to.Close()
			c.say(500)
			all.add(to.lines, 0)
			if l, err = net.Listen("tcp", address); err != nil {
				t.Fatal(err)
			}
			to = newCollector(t, l)
		}
		_ = end() // and so does the daemon
	}
	end := c.follow(receiver)
	to.until(t, "the last line", func(lines []string, _ int) bool {
		return len(lines) > 0 && lines[len(lines)-1] == fmt.Sprintf("line %d", c.lines-1)
	})
	_ = end()
	all.add(to.lines, 0)
	all.all(t, c.lines)
}

// TestWhatTheBudgetTookIsCounted: the receiver is away while more is written than the disk keeps.
func TestWhatTheBudgetTookIsCounted(t *testing.T) {
	c, to := newContainer(t, logs.Limits{Size: 4 << 10, Files: 3}), newCollector(t, nil)
	end := c.follow(to.receiver(t))
	c.say(10)
	to.all(t, 10)
	_ = end()
	c.say(5000)
	end = c.follow(to.receiver(t))
	to.until(t, "every line or that it is gone", func(lines []string, dropped int) bool { return len(lines)+dropped == 5010 && dropped > 4000 })
	_ = end()
	if last := to.lines[len(to.lines)-1]; last != "line 5009" {
		t.Errorf("the last line is %q", last)
	}
}

func TestABusyCollectorIsAskedAgainWhenItSays(t *testing.T) {
	c, to := newContainer(t, logs.Limits{}), newCollector(t, nil)
	for _, status := range []int{http.StatusTooManyRequests, http.StatusServiceUnavailable, http.StatusNotFound} {
		to.answers <- func(w http.ResponseWriter) {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(status)
		}
	}
	c.say(3)
	end := c.follow(to.receiver(t))
	to.all(t, 3)
	_ = end()
	if len(to.at) != 4 {
		t.Fatalf("it was asked %d times", len(to.at))
	}
	for i, at := range to.at[1:] {
		if waited := at.Sub(to.at[i]); waited < time.Second {
			t.Errorf("it was asked again after %v, though it had said a second", waited)
		}
	}
}

// TestWhatACollectorRefusesIsCounted: trying the same again could not help, and would hold up what follows.
func TestWhatACollectorRefusesIsCounted(t *testing.T) {
	c, to := newContainer(t, logs.Limits{}), newCollector(t, nil)
	to.answers <- func(w http.ResponseWriter) { w.WriteHeader(http.StatusBadRequest) }
	to.answers <- func(w http.ResponseWriter) {
		fmt.Fprint(w, `{"partialSuccess":{"rejectedLogRecords":"2","errorMessage":"old"}}`)
	}
	end := c.follow(to.receiver(t))
	for batch := range 3 {
		c.say(10)
		to.until(t, "a request", func([]string, int) bool { return len(to.at) > batch })
	}
	to.until(t, "the third batch", func(lines []string, dropped int) bool { return len(lines) == 10 && dropped == 2 })
	_ = end()
}
