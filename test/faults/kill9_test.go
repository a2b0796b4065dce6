package faults

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"naru/internal/testkit"
)

// TestKill9AtRandomInstants kills the daemon under a mixed load, sometimes while it starts, and checks after each start
// that nothing was lost and nothing is there twice.
func TestKill9AtRandomInstants(t *testing.T) {
	d := start(t)
	before := d.Kernel()
	c := newCrew(t, d, 3)
	c.begin()
	defer c.end()
	random := rand.New(rand.NewPCG(*seed, 1000))
	for n := range *kills {
		instant(random, 700*time.Millisecond)
		if c.killOnce(n, random); t.Failed() {
			return
		}
	}
	c.end()
	c.account()
	c.clear()
	d.Settles(before)
}

// killOnce kills the daemon, looks what is left without one, and starts the next, which has to know all.
func (c *crew) killOnce(n int, random *rand.Rand) {
	c.d.Kill9()
	c.gate.Lock()
	defer c.gate.Unlock()
	c.survives(n)
	if random.IntN(4) == 0 { // once more, while it takes over what runs
		c.d.Launch()
		instant(random, 200*time.Millisecond)
		c.d.Kill9()
	}
	c.d.Start()
	c.settle(n)
}

// instant lets the daemon work for some random time below limit: this is not a wait for anything.
func instant(random *rand.Rand, limit time.Duration) {
	time.Sleep(time.Duration(random.Int64N(int64(limit))))
}

// survives checks what needs no daemon: processes live and published ports answer.
func (c *crew) survives(kill int) {
	for b := range c.steady() {
		if err := b.lives(); err != nil {
			c.wrong("kill %d: %s: %v", kill, b.name, err)
		}
		if err := b.answers(c.ctx); err != nil && c.ctx.Err() == nil {
			c.wrong("kill %d: without a daemon, %s does not answer: %v", kill, b.name, err)
		}
	}
}

// steady yields the boxes that certainly run.
func (c *crew) steady() func(yield func(*box) bool) {
	return func(yield func(*box) bool) {
		for _, w := range c.workers {
			for _, b := range w.boxes {
				if b.want == runs && b.port != 0 && !yield(b) {
					return
				}
			}
		}
	}
}

// settle compares what the new daemon says with what the one before had acknowledged. What an act without an answer left
// is found out and brought to an end. The caller holds the gate.
func (c *crew) settle(kill int) {
	list, err := c.api.Containers(c.ctx)
	if err != nil {
		c.wrong("kill %d: %v", kill, err)
		return
	}
	known := map[string]testkit.Container{}
	for _, ct := range list {
		if _, double := known[ct.Name]; double {
			c.wrong("kill %d: there are two containers %s", kill, ct.Name)
		}
		known[ct.Name] = ct
	}
	for _, w := range c.workers {
		for _, b := range slices.Clone(w.boxes) {
			ct, found := known[b.name]
			delete(known, b.name)
			if err := w.settleOne(b, ct, found); err != nil {
				c.wrong("kill %d: %s, which %s: %v (the daemon says %+v)", kill, b.name, b.want, err, ct)
			}
		}
	}
	for name, ct := range known {
		if strings.HasPrefix(name, "w") {
			c.wrong("kill %d: nobody made the container %+v", kill, ct)
		}
	}
	if err := soon(c.ctx, 20*time.Second, c.deploys.answers); err != nil && c.ctx.Err() == nil {
		c.wrong("kill %d: %v", kill, err)
	}
}

// settleOne is settle for one box.
func (w *worker) settleOne(b *box, ct testkit.Container, found bool) error {
	switch b.want {
	case unsureRun:
		return w.settleRun(b, ct, found)
	case unsureStop:
		return w.settleStop(b)
	case unsureDeath:
		return soon(w.ctx, 20*time.Second, func() error { return w.hasRisen(b) })
	case unsureRemoval:
		defer w.drop(b)
		return w.removeIf(b, found)
	case ended:
		if !found || ct.State != "exited" || ct.ExitCode != b.code {
			return fmt.Errorf("with status %d: found %v", b.code, found)
		}
		return nil
	}
	if b.port == 0 {
		return w.settleBrief(b, ct, found)
	}
	if !found || ct.State != "running" || ct.PID != b.pid {
		return fmt.Errorf("as process %d: found %v", b.pid, found)
	}
	return b.answers(w.ctx)
}

// settleBrief checks a box that may have ended meanwhile.
func (w *worker) settleBrief(b *box, ct testkit.Container, found bool) error {
	switch {
	case !found && b.alone:
		w.drop(b)
	case !found:
		return fmt.Errorf("it is lost")
	case ct.State == "running" && ct.PID != b.pid:
		return fmt.Errorf("as process %d: another process", b.pid)
	case ct.State != "running" && ct.ExitCode != b.code:
		return fmt.Errorf("it should have ended with status %d", b.code)
	}
	return nil
}

// settleRun takes over a box that runs although nobody said so, and removes one that does not.
func (w *worker) settleRun(b *box, ct testkit.Container, found bool) error {
	if found && ct.State == "running" {
		b.pid, b.want = ct.PID, runs
		if b.port == 0 {
			return nil
		}
		return soon(w.ctx, 20*time.Second, func() error { return b.answers(w.ctx) })
	}
	defer w.drop(b)
	if found && ct.State == "exited" && ct.Error == "" && ct.ExitCode != b.code {
		return fmt.Errorf("it ended with status %d instead of %d", ct.ExitCode, b.code)
	}
	if found && b.alone && ct.State == "exited" {
		return soon(w.ctx, 20*time.Second, func() error { return w.isRemoved(b) })
	}
	return w.removeIf(b, found)
}

// isRemoved returns nil when a box that is to be removed at its end has been.
func (w *worker) isRemoved(b *box) error {
	_, err := w.api.Container(w.ctx, b.name)
	if isGone(err) {
		return nil
	}
	return fmt.Errorf("it has ended and is not removed (%w)", err)
}

// settleStop stops it again: it ends as if it had been stopped once.
func (w *worker) settleStop(b *box) error {
	if err := w.api.StopContainer(w.ctx, b.name); err != nil {
		return err
	}
	b.want = ended
	w.checkEnd(b)
	return nil
}

// removeIf removes a box that is still there.
func (w *worker) removeIf(b *box, found bool) error {
	if !found {
		return nil
	}
	return w.api.RemoveContainer(w.ctx, b.name, true)
}

// account checks every box once more, to its last log line, and says what was done.
func (c *crew) account() {
	total := map[string]int{"up": c.deploys.count}
	for _, w := range c.workers {
		for name, n := range w.acts {
			total[name] += n
		}
		for _, b := range slices.Clone(w.boxes) {
			w.bringToEnd(b)
		}
	}
	for _, act := range slices.Sorted(maps.Keys(total)) {
		c.t.Logf("%s: %d acknowledged", act, total[act])
	}
}

// bringToEnd lets a box end in the way that it is made to end, and checks its status, its log and its removal.
func (w *worker) bringToEnd(b *box) {
	if b.want == runs && b.port != 0 {
		w.halt(b)
	}
	left := func() error {
		if w.finish(b); b.want == gone || w.t.Failed() {
			return nil
		}
		return fmt.Errorf("%s is there", b.want)
	}
	if err := soon(w.ctx, 20*time.Second, left); err != nil {
		w.wrong("%s does not come to its end: %v", b.name, err)
	}
}

// clear takes the app down; then no container may be left.
func (c *crew) clear() {
	c.d.OK("down", "-a", "hello")
	testkit.Eventually(c.t, 20*time.Second, "no container is left", func() error {
		if left := c.d.Containers(); len(left) > 0 {
			return fmt.Errorf("there are %+v", left)
		}
		return nil
	})
}
