package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"
)

// width is the terminal's, or 0 for what is not one.
func width(w io.Writer) int {
	f, ok := w.(*os.File)
	if !ok {
		return 0
	}
	columns, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return columns
}

// line prints a line for good, above the running steps.
func (p *progress) line(s string, c colour) {
	p.erase()
	_, _ = fmt.Fprintln(p.w, cell{s, c}.paint(p.colour)) // who closes our output wants no more of it
	p.draw()
}

// redraw shows what runs: anew on a terminal, and elsewhere once, when it begins to take long.
func (p *progress) redraw() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.running {
		if p.now().Sub(s.since) >= patience {
			p.announce(s)
		}
	}
	p.erase()
	p.draw()
}

// erase takes the running steps off the screen.
func (p *progress) erase() {
	if p.drawn > 0 {
		_, _ = fmt.Fprintf(p.w, "\x1b[%dA\x1b[J", p.drawn)
	}
	p.drawn = 0
}

// draw puts the running steps on the screen, each on a line with what it says.
func (p *progress) draw() {
	if p.width == 0 {
		return
	}
	for _, s := range p.running {
		age := p.now().Sub(s.since).Truncate(time.Second)
		line := fmt.Sprintf("%s  %s", s.label, age)
		if tail := printable(string(overwritten(s.tail))); tail != "" {
			line += "  " + tail
		}
		_, _ = fmt.Fprintln(p.w, cell{cut(line, p.width-1), yellow}.paint(p.colour))
		p.drawn++
	}
}

// printable keeps what moves no cursor: a build's output may hold anything.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return -1
		}
		return r
	}, s)
}

// cut shortens s to n characters.
func cut(s string, n int) string {
	r := []rune(s)
	if len(r) <= n || n < 1 {
		return s
	}
	return string(r[:n-1]) + "…"
}
