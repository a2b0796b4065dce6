package faults

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"naru/internal/testkit"
)

// crew is a mixed load: workers that each make, use, stop and remove containers of their own, and one that deploys an
// app. Whoever wants to see the machine without them holds the gate.
type crew struct {
	t    *testing.T
	d    *testkit.Daemon
	api  testkit.API
	gate sync.RWMutex // an act under way holds it for reading

	workers []*worker
	deploys deployer
	ports   sync.Map // those that boxes had
	running sync.WaitGroup
	ctx     context.Context
	over    context.Context // no act begins after it; one under way comes to its end
	stop    context.CancelFunc
}

// worker does one act after the other. Its boxes are read by others only while they hold the gate.
type worker struct {
	*crew
	number int
	random *rand.Rand
	made   int
	boxes  []*box
	acts   map[string]int // that were acknowledged
}

// freePort is one that no box had before: of those that containers publish, the host's own list knows nothing.
func (c *crew) freePort() uint16 {
	for {
		port := testkit.FreePort(c.t)
		if _, had := c.ports.LoadOrStore(port, true); !had {
			return port
		}
	}
}

func newCrew(t *testing.T, d *testkit.Daemon, size int) *crew {
	c := &crew{t: t, d: d, api: d.API(), ctx: t.Context()}
	c.over, c.stop = context.WithCancel(t.Context())
	for n := range size {
		c.workers = append(c.workers, &worker{crew: c, number: n, random: rand.New(rand.NewPCG(*seed, uint64(n))), acts: map[string]int{}})
	}
	c.deploys = deployer{crew: c, folder: site(t, "word-0")}
	return c
}

// begin sets everybody to work, until end is called or something is wrong.
func (c *crew) begin() {
	for _, w := range c.workers {
		c.running.Go(w.work)
	}
	c.running.Go(c.deploys.work)
}

func (c *crew) end() {
	c.stop()
	c.running.Wait()
}

// wrong fails the test and lets everybody stop: what comes after the first wrong thing teaches nothing.
func (c *crew) wrong(format string, args ...any) {
	c.t.Errorf(format, args...)
	c.stop()
}

func (w *worker) work() {
	for w.over.Err() == nil {
		w.gate.RLock()
		w.act()
		w.gate.RUnlock()
	}
}

// act does one thing with a box chosen at random, or makes one.
func (w *worker) act() {
	if len(w.boxes) < 2 || len(w.boxes) < 4 && w.random.IntN(4) == 0 {
		[]func(){w.run, w.run, w.run, w.oneShot}[w.random.IntN(4)]()
		return
	}
	b := w.boxes[w.random.IntN(len(w.boxes))]
	switch {
	case b.want != runs && b.want != ended: // an act got no answer: after the next start its fate is settled
	case b.want == ended || b.port == 0:
		w.finish(b)
	case b.rises:
		[]func(*box){w.exec, w.fell, w.fell, w.fell, w.halt, w.remove}[w.random.IntN(6)](b)
	default:
		[]func(*box){w.exec, w.exec, w.readLog, w.halt, w.halt, w.remove}[w.random.IntN(6)](b)
	}
}

// run makes a box and starts it. A steady one is waited for until it answers, which needs no daemon.
func (w *worker) run() {
	w.made++
	b := &box{name: fmt.Sprintf("w%d-%d", w.number, w.made), want: unsureRun}
	if w.random.IntN(3) > 0 {
		b.port, b.code, b.rises = w.freePort(), stopCode, w.random.IntN(3) == 0
	} else {
		b.lines, b.code, b.alone = 1+w.random.IntN(3000), 10+w.random.IntN(90), w.random.IntN(3) == 0
	}
	w.boxes = append(w.boxes, b)
	c, err := w.api.RunContainer(w.ctx, b.spec())
	if !w.done("run", b, err) {
		return
	}
	b.pid, b.want = c.PID, runs
	if b.port == 0 {
		return
	}
	if err := soon(w.ctx, 20*time.Second, func() error { return b.answers(w.ctx) }); err != nil && w.ctx.Err() == nil {
		w.wrong("%s was started and does not answer: %v", b.name, err)
	}
}

// oneShot runs a box in the foreground that is removed at its end, with or without the daemon that was asked.
func (w *worker) oneShot() {
	w.made++
	b := &box{name: fmt.Sprintf("w%d-%d", w.number, w.made), want: unsureRun, lines: 1, code: 7, alone: true}
	w.boxes = append(w.boxes, b)
	run := w.d.Command(w.ctx, "container", "run", "--rm", "--name", b.name, busybox, "sh", "-c", "echo line 1; exit 7")
	out, err := run.Output()
	if err == nil || run.ProcessState.ExitCode() != b.code {
		return // killed: its fate is settled after the next start
	}
	w.acts["run --rm"]++
	if string(out) != "line 1\n" {
		w.wrong("%s printed %q", b.name, out)
	}
	w.awaitRemoval(b)
	if b.want != gone {
		b.want = runs
	}
}

// done reports whether the daemon said that an act succeeded. When it refused, that is wrong; when it did not answer,
// nobody knows yet.
func (w *worker) done(what string, b *box, err error) bool {
	if refusal, ok := testkit.Refused(err); ok && !strings.Contains(refusal.Message, "context canceled") {
		w.wrong("%s %s: %v", what, b.name, err)
	}
	if err == nil {
		w.acts[what]++
	}
	return err == nil
}

// exec looks into the box from inside.
func (w *worker) exec(b *box) {
	out, err := w.d.Command(w.ctx, "container", "exec", b.name, "cat", "/tmp/w/name").Output()
	if err != nil {
		return // the daemon went: a refusal is found by the check of the box that follows each start
	}
	w.acts["exec"]++
	if string(out) != b.name+"\n" {
		w.wrong("exec in %s printed %q", b.name, out)
	}
}

// fell kills the process of a box that is to be started again, and waits until it is. The wait doubles each time, so that
// a few deaths are enough.
func (w *worker) fell(b *box) {
	if b.deaths == 4 {
		return
	}
	b.deaths++
	w.acts["crash"]++
	b.want = unsureDeath
	if err := syscall.Kill(b.pid, syscall.SIGKILL); err != nil {
		w.wrong("kill process %d of %s: %v", b.pid, b.name, err)
	}
	err := soon(w.ctx, 20*time.Second, func() error { return w.hasRisen(b) })
	if err != nil && w.ctx.Err() == nil {
		w.wrong("%s was killed: %v", b.name, err)
	}
	if b.want == runs {
		w.acts["restart"]++
	}
}

// hasRisen takes in the new process of a box that was killed. Without a daemon there is no use in waiting.
func (w *worker) hasRisen(b *box) error {
	c, err := w.api.Container(w.ctx, b.name)
	if _, refused := testkit.Refused(err); err != nil && !refused {
		return nil
	}
	if err == nil && (c.State != "running" || c.PID == b.pid) {
		err = fmt.Errorf("%s is %s as process %d, was %d", b.name, c.State, c.PID, b.pid)
	}
	if err == nil {
		err = b.answers(w.ctx)
	}
	if err == nil {
		b.pid, b.want = c.PID, runs
	}
	return err
}

func (w *worker) readLog(b *box) {
	out, err := w.d.Command(w.ctx, "container", "logs", b.name).Output()
	if err != nil {
		return // as with exec
	}
	w.acts["logs"]++
	if err := b.checkLog(string(out)); err != nil {
		w.wrong("the log of %s (%s): %v", b.name, b.want, err)
	}
}

func (w *worker) halt(b *box) {
	b.want = unsureStop
	if w.done("stop", b, w.api.StopContainer(w.ctx, b.name)) {
		b.want = ended
		w.checkEnd(b)
	}
}

// finish waits for the end of a brief box, checks what it left, and removes it.
func (w *worker) finish(b *box) {
	if b.alone {
		w.awaitRemoval(b)
		return
	}
	c, err := w.api.Container(w.ctx, b.name)
	if !w.done("inspect", b, err) || c.State == "running" {
		return
	}
	b.want = ended
	w.checkEnd(b)
	w.readLog(b)
	w.remove(b)
}

// awaitRemoval looks whether a box that is removed at its end is gone.
func (w *worker) awaitRemoval(b *box) {
	_, err := w.api.Container(w.ctx, b.name)
	if isGone(err) {
		w.drop(b)
	}
}

func isGone(err error) bool {
	refusal, ok := testkit.Refused(err)
	return ok && refusal.Code == "not_found"
}

// checkEnd asks whether the exit status of a box that has ended is known.
func (w *worker) checkEnd(b *box) {
	c, err := w.api.Container(w.ctx, b.name)
	if w.done("inspect", b, err) && (c.State != "exited" || c.ExitCode != b.code) {
		w.wrong("%s has ended with status %d; it is %s with status %d %s", b.name, b.code, c.State, c.ExitCode, c.Error)
	}
}

func (w *worker) remove(b *box) {
	b.want = unsureRemoval
	if w.done("remove", b, w.api.RemoveContainer(w.ctx, b.name, true)) {
		w.drop(b)
	}
}

func (w *worker) drop(b *box) {
	b.want = gone
	for i, other := range w.boxes {
		if other == b {
			w.boxes = append(w.boxes[:i], w.boxes[i+1:]...)
			return
		}
	}
}

// soon asks again and again until check is content, the time is over or ctx ends. It returns the last answer.
func soon(ctx context.Context, limit time.Duration, check func() error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		err := check()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// deployer deploys one word after the other.
type deployer struct {
	*crew
	folder string
	tried  int
	acked  int // the last word that `naru up` said is up; zero: none
	count  int
}

func (d *deployer) work() {
	for d.over.Err() == nil {
		d.gate.RLock()
		d.deploy()
		d.gate.RUnlock()
	}
}

func (d *deployer) deploy() {
	d.tried++
	writeSite(d.t, d.folder, fmt.Sprintf("word-%d", d.tried))
	if err := d.d.Command(d.ctx, "up", d.folder).Run(); err != nil {
		return // killed, or the one before is still rolling out; what is up is checked after each start
	}
	d.acked = d.tried
	d.count++
	got, err := d.d.Get("hello.localhost", "/")
	if want := fmt.Sprintf("word-%d", d.acked); err == nil && got != want {
		d.wrong("after up of %s the app answers %q", want, got)
	}
}

// answers fails when an app that was once up is not, or is older than what was last acknowledged.
func (d *deployer) answers() error {
	if d.acked == 0 {
		return nil
	}
	got, err := d.d.Get("hello.localhost", "/")
	if err != nil {
		return err
	}
	n := 0
	if _, err := fmt.Sscanf(got, "word-%d", &n); err != nil || n < d.acked {
		return fmt.Errorf("the app answers %q; word-%d was up, word-%d was tried", got, d.acked, d.tried)
	}
	return nil
}
