package forward

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"naru/engine/logs"
)

// entries reads "o:text o+:more e:text": a stream, + when it goes on with a line, a text in which ; is a newline, and
// before it a number of dropped lines.
func entries(words string) (all []logs.Entry) {
	for n, w := range strings.Fields(words) {
		head, text, _ := strings.Cut(w, ":")
		e := logs.Entry{Time: time.Unix(int64(n), 0), Stream: logs.Stdout, Begin: !strings.Contains(head, "+"), Data: []byte(strings.ReplaceAll(text, ";", "\n")),
			Next: logs.Position{Segment: 1, Offset: int64(n + 1)}}
		if strings.HasPrefix(head, "e") {
			e.Stream = logs.Stderr
		}
		if strings.HasSuffix(head, "!") {
			e.Dropped = 3
		}
		all = append(all, e)
	}
	return all
}

func TestLinesAreJoined(t *testing.T) {
	for name, test := range map[string]struct {
		entries, lines string
		safe           int64 // after them
	}{
		"whole lines":                   {"o:one; e:two;", "stdout one|stderr two", 2},
		"a line in pieces":              {"o:on o+:e;", "stdout one", 2},
		"another stream in between":     {"o:on e:two; o+:e;", "stderr two|stdout one", 3},
		"a line without its end":        {"o:one; o:tw", "stdout one", 1},
		"and another one goes on":       {"o:on e:two; e:three;", "stderr two|stderr three", 0},
		"a line that never got its end": {"o:one o:two;", "stdout one|stdout two", 2},
		"an empty one":                  {"o:;", "stdout ", 1},
		"some are gone":                 {"o:one; o!:five;", "stdout one|stderr naru: 3 lines were dropped here|stdout five", 2},
		"a line torn by a gap":          {"o:on o!:five;", "stderr naru: 3 lines were dropped here|stdout on|stdout five", 2},
	} {
		var j joiner
		for _, e := range entries(test.entries) {
			j.add(e)
		}
		if diff := cmp.Diff(test.lines, render(j.take())); diff != "" || j.safe().Offset != test.safe {
			t.Errorf("%s: safe is %d, want %d (-want +got):\n%s", name, j.safe().Offset, test.safe, diff)
		}
	}
}

func render(batch []Message) string {
	var all []string
	for _, m := range batch {
		all = append(all, m.Stream.String()+" "+string(m.text()))
	}
	return strings.Join(all, "|")
}

func TestLinesThatGetNoEndAndLongOnes(t *testing.T) {
	var j joiner
	for _, e := range entries("o:one e:two") {
		j.add(e)
	}
	j.end()
	if got := render(j.take()); got != "stdout one|stderr two" || j.safe().Offset != 2 {
		t.Errorf("%q, safe %v", got, j.safe())
	}
	piece := logs.Entry{Stream: logs.Stdout, Data: make([]byte, logs.MaxData)}
	for range 9 {
		j.add(piece)
	}
	if batch := j.take(); len(batch) != 2 || len(batch[0].Text) != maxLine {
		t.Errorf("%d messages", len(batch))
	}
}
