package main

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"naru/delivery"
	"naru/naru"
)

// progress shows the events of a change to people: a line when something has happened, and, on a terminal, below them
// the steps that run now, drawn anew several times a second.
type progress struct {
	ae     naru.AppEnv
	colour bool
	width  int // of the terminal; 0: not a terminal, only lines
	now    func() time.Time

	mu      sync.Mutex
	w       io.Writer
	running []*step
	ended   map[string]bool // keys of steps; the builder may report an end more than once
	drawn   int             // lines of running steps on the screen
	rollout string
}

// step is a step of a build that runs.
type step struct {
	key, label string
	since      time.Time
	tail       []byte // its output's last, unfinished or finished, line
	announced  bool   // its label has been printed: where there is no terminal
}

func newProgress(w io.Writer, ae naru.AppEnv, coloured bool, width int) *progress {
	return &progress{w: w, ae: ae, colour: coloured, width: width, now: time.Now, ended: map[string]bool{}}
}

// redrawInterval is how often running steps show their age.
const redrawInterval = 100 * time.Millisecond

// start begins redrawing and returns what ends it.
func (p *progress) start() (end func()) {
	done := make(chan struct{})
	var ticking sync.WaitGroup
	ticking.Go(func() {
		for tick := time.NewTicker(redrawInterval); ; {
			select {
			case <-tick.C:
				p.redraw()
			case <-done:
				tick.Stop()
				return
			}
		}
	})
	return func() {
		close(done)
		ticking.Wait()
		p.mu.Lock()
		defer p.mu.Unlock()
		p.erase()
	}
}

// show tells one event.
func (p *progress) show(e delivery.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case e.Build != nil:
		p.build(*e.Build)
	case e.Image != nil && e.Image.Built:
		p.line(fmt.Sprintf("image    %s %s", e.Image.Service, e.Image.Digest.Short()), dim)
	case e.Release != nil && e.Release.Rolling:
		p.line(fmt.Sprintf("release  %s (%s)", e.Release.Number, e.Release.Reason), plain)
	case e.Rollout != nil:
		p.showRollout(*e.Rollout)
	case e.Scaled != nil:
		p.line(fmt.Sprintf("scale    %s %d of %d ready", e.Scaled.Service, e.Scaled.Ready, e.Scaled.Wanted), plain)
	case e.Done != nil:
		p.line(doneText(p.ae, *e.Done), bold)
	}
}

func (p *progress) showRollout(r naru.Rollout) {
	line := "rollout  " + rolloutText(r)
	if line == p.rollout || r.State == naru.RolloutPending { // which lasts no longer than a blink
		return
	}
	p.rollout = line
	p.line(line, rolloutCell(r.State).colour)
}

func rolloutText(r naru.Rollout) string {
	s := fmt.Sprintf("%s → %s %s", releaseText(r.From), releaseText(r.To), r.State)
	if r.State == naru.RolloutShifting && r.Step > 0 {
		s += fmt.Sprintf(", step %d", r.Step+1)
	}
	return s
}

func doneText(ae naru.AppEnv, r delivery.Result) string {
	return strings.Join(append([]string{ae.String() + ": " + outcome(r)}, r.URLs...), "\n")
}

// outcome is how a change ended, in words.
func outcome(r delivery.Result) string {
	switch {
	case r.Change == delivery.ChangeConfig:
		return "config is kept for the next release"
	case r.Change == delivery.ChangeDown && r.Detached:
		return "is going down"
	case r.Change == delivery.ChangeDown:
		return "is down"
	case r.Change == delivery.ChangeScale && r.Unchanged:
		return "nothing to do, it is scaled so already"
	case r.Change == delivery.ChangeScale && r.Detached:
		return "is scaling"
	case r.Change == delivery.ChangeScale:
		return "scaled"
	case r.Unchanged:
		return fmt.Sprintf("nothing to do, %s is up to date", r.Release)
	case r.Detached:
		return fmt.Sprintf("%s is rolling out", r.Release)
	}
	return fmt.Sprintf("%s is up", r.Release)
}

// quick is a step that nobody needs to hear of, and patience how long a silent one stays unmentioned in plain lines.
const (
	quick    = 50 * time.Millisecond
	patience = time.Second
)

// build tells of a step of a build. What was cached, or took no time, is not mentioned. The caller holds p.mu.
func (p *progress) build(b delivery.BuildProgress) {
	key, service := stepKey(b)
	if p.ended[key] {
		return
	}
	s := p.stepOf(key, "build    "+service+" "+b.Name)
	if len(b.Output) > 0 {
		p.output(s, b.Output)
	}
	switch {
	case b.State == delivery.StepFailed:
		p.end(s, "failed", red)
	case b.State == delivery.StepCached, b.State == delivery.StepDone && b.Took < quick && !s.announced:
		p.forget(s)
	case b.State == delivery.StepDone:
		p.end(s, b.Took.Round(100*time.Millisecond).String(), plain)
	}
}

func stepKey(b delivery.BuildProgress) (key, services string) {
	names := make([]string, len(b.Services))
	for i, n := range b.Services {
		names[i] = string(n)
	}
	services = strings.Join(names, ",")
	return services + " " + b.Step, services
}

// stepOf finds the running step with the key, or begins it.
func (p *progress) stepOf(key, label string) *step {
	for _, s := range p.running {
		if s.key == key {
			return s
		}
	}
	s := &step{key: key, label: label, since: p.now()}
	p.running = append(p.running, s)
	return s
}

// announce prints the label of a step where no terminal shows it anyway.
func (p *progress) announce(s *step) {
	if p.width == 0 && !s.announced {
		s.announced = true
		p.line(s.label, plain)
	}
}

// forget takes the step off the running ones, for good.
func (p *progress) forget(s *step) {
	p.ended[s.key] = true
	p.running = slices.DeleteFunc(p.running, func(r *step) bool { return r == s })
}

func (p *progress) end(s *step, how string, c colour) {
	if p.width == 0 {
		p.outputLine(s.tail)
	}
	p.forget(s)
	p.line(s.label+"  "+how, c)
}

// maxTail bounds what is kept of a line that does not end.
const maxTail = 16 << 10

// output shows a step's whole lines where there is no terminal, and keeps the newest one for drawing where there is.
func (p *progress) output(s *step, out []byte) {
	s.tail = append(s.tail, out...)
	if p.width > 0 {
		s.tail = lastLine(s.tail)
		return
	}
	p.announce(s)
	for {
		line, rest, whole := bytes.Cut(s.tail, []byte("\n"))
		if !whole && len(line) < maxTail {
			return
		}
		s.tail = rest
		p.outputLine(line)
	}
}

func (p *progress) outputLine(line []byte) {
	if line = overwritten(line); len(line) > 0 {
		p.line("         | "+string(line), plain)
	}
}

// lastLine is the newest line of an output, which may have no end yet.
func lastLine(b []byte) []byte {
	b = b[bytes.LastIndexByte(bytes.TrimRight(b, "\n"), '\n')+1:]
	return b[max(0, len(b)-maxTail):]
}

// overwritten is what a terminal would show of a line in which carriage returns begin anew.
func overwritten(line []byte) []byte {
	line = bytes.TrimRight(line, "\r\n")
	return line[bytes.LastIndexByte(line, '\r')+1:]
}
